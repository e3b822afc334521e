#!/usr/bin/env python
import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "panicboard.settings")
    # As it may be written: whole, with its file behind a "=", or cut short.
    if any("--break-glass".startswith(word.partition("=")[0]) and word[2:3] == "b" for word in sys.argv):
        # Whatever is wrong with the environment, this one press must not be refused for it.
        os.environ["DJANGO_SETTINGS_MODULE"] = "panicboard.break_glass.settings"
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
