"""The engine: one door to buckets, objects, uploads, files and health, and the services behind it.

Room: stratum/engine. May import: core, store, engine.*.

Start: disks by identity, index (recovered from the journal if need be), volumes, services. Stop: the reverse.
"""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import trio

from stratum.core.config import Limits, Settings
from stratum.core.namespace import DirectoryMaker
from stratum.core.records import Disk as DiskRecord
from stratum.core.records import Inode, Kind, Volume, decode
from stratum.core.schema import DISK, ROOT_INODE, VOLUME, disk_key, inode_key, volume_key
from stratum.core.txn import Txn, load, save, scan_records, successor
from stratum.engine.buckets import Buckets
from stratum.engine.changes import Changes
from stratum.engine.contents import Contents
from stratum.engine.credentials import Credentials, RootCredential
from stratum.engine.disk_events import DiskEvents
from stratum.engine.files import Files
from stratum.engine.objects import Objects
from stratum.engine.reaper import Reaper
from stratum.engine.repairer import Repairer
from stratum.engine.scrubber import Scrubber
from stratum.engine.surroundings import Surroundings
from stratum.engine.uploads import Uploads
from stratum.engine.volume_ids import VolumeIds
from stratum.store.disks import Disks, DiskWatch
from stratum.store.identity import Joined
from stratum.store.meta import Meta
from stratum.store.volumes import Volumes
