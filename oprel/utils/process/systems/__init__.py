"""What differs between operating systems: locks, users, files that several threads write, signals.

`_posix` and `_windows` have the same names; no other module looks for what only one of the systems has.
"""

import sys

if sys.platform == "win32":
    from oprel.utils.process.systems._windows import (
        CONTINUE as CONTINUE,
    )
    from oprel.utils.process.systems._windows import (
        HANGUP as HANGUP,
    )
    from oprel.utils.process.systems._windows import (
        KILL as KILL,
    )
    from oprel.utils.process.systems._windows import (
        MOST_PIECES as MOST_PIECES,
    )
    from oprel.utils.process.systems._windows import (
        OWN_FILE as OWN_FILE,
    )
    from oprel.utils.process.systems._windows import (
        SUSPEND as SUSPEND,
    )
    from oprel.utils.process.systems._windows import (
        allocated_bytes as allocated_bytes,
    )
    from oprel.utils.process.systems._windows import (
        clone as clone,
    )
    from oprel.utils.process.systems._windows import (
        free_bytes as free_bytes,
    )
    from oprel.utils.process.systems._windows import (
        group_of as group_of,
    )
    from oprel.utils.process.systems._windows import (
        is_root as is_root,
    )
    from oprel.utils.process.systems._windows import (
        kill_group as kill_group,
    )
    from oprel.utils.process.systems._windows import (
        load_average as load_average,
    )
    from oprel.utils.process.systems._windows import (
        lock as lock,
    )
    from oprel.utils.process.systems._windows import (
        on_fork as on_fork,
    )
    from oprel.utils.process.systems._windows import (
        read_at as read_at,
    )
    from oprel.utils.process.systems._windows import (
        read_into as read_into,
    )
    from oprel.utils.process.systems._windows import (
        sync_folder as sync_folder,
    )
    from oprel.utils.process.systems._windows import (
        unix_socket as unix_socket,
    )
    from oprel.utils.process.systems._windows import (
        user_id as user_id,
    )
    from oprel.utils.process.systems._windows import (
        user_name as user_name,
    )
    from oprel.utils.process.systems._windows import (
        write_at as write_at,
    )
else:
    from oprel.utils.process.systems._posix import (
        CONTINUE as CONTINUE,
    )
    from oprel.utils.process.systems._posix import (
        HANGUP as HANGUP,
    )
    from oprel.utils.process.systems._posix import (
        KILL as KILL,
    )
    from oprel.utils.process.systems._posix import (
        MOST_PIECES as MOST_PIECES,
    )
    from oprel.utils.process.systems._posix import (
        OWN_FILE as OWN_FILE,
    )
    from oprel.utils.process.systems._posix import (
        SUSPEND as SUSPEND,
    )
    from oprel.utils.process.systems._posix import (
        allocated_bytes as allocated_bytes,
    )
    from oprel.utils.process.systems._posix import (
        clone as clone,
    )
    from oprel.utils.process.systems._posix import (
        free_bytes as free_bytes,
    )
    from oprel.utils.process.systems._posix import (
        group_of as group_of,
    )
    from oprel.utils.process.systems._posix import (
        is_root as is_root,
    )
    from oprel.utils.process.systems._posix import (
        kill_group as kill_group,
    )
    from oprel.utils.process.systems._posix import (
        load_average as load_average,
    )
    from oprel.utils.process.systems._posix import (
        lock as lock,
    )
    from oprel.utils.process.systems._posix import (
        on_fork as on_fork,
    )
    from oprel.utils.process.systems._posix import (
        read_at as read_at,
    )
    from oprel.utils.process.systems._posix import (
        read_into as read_into,
    )
    from oprel.utils.process.systems._posix import (
        sync_folder as sync_folder,
    )
    from oprel.utils.process.systems._posix import (
        unix_socket as unix_socket,
    )
    from oprel.utils.process.systems._posix import (
        user_id as user_id,
    )
    from oprel.utils.process.systems._posix import (
        user_name as user_name,
    )
    from oprel.utils.process.systems._posix import (
        write_at as write_at,
    )
