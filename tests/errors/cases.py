"""All mistakes of docs/errors.md, in the order of its tables."""

from __future__ import annotations

from command_cases import COMMANDS
from data_cases import DATA
from device_cases import DEVICES
from disk_cases import DISKS
from folder_cases import FOLDERS
from inspect_cases import INSPECT
from pair_cases import PAIRS
from settings_cases import SETTINGS

CASES = (*DATA, *SETTINGS, *PAIRS, *FOLDERS, *INSPECT, *COMMANDS, *DEVICES, *DISKS)
