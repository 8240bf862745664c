"""How Linux takes another MAC, and an address for it: for the shell of a guest that was thawed.

Linux reads a MAC when it finds the device. So the driver is unbound and bound: whatever sets an
interface up in the guest then does so as after a boot, and asks for a lease. Of the one that the
guest had nothing is given back, as it is another copy's, too: its interface has gone before a
client is stopped. Three things that make copies ask for one address are seen to:

- Debian's ifupdown leaves an interface that comes later alone, unless it is `allow-hotplug`;
- ISC's dhclient would ask for the address of the lease that is in its file;
- systemd-networkd names itself to servers by the machine-id, by which all copies are one machine.

Sources: Linux, Documentation/driver-api/driver-model/binding.rst; interfaces(5), dhclient(8),
networkd.conf(5).
"""

PATIENCE = 120.0  # seconds for an address: emulated on a busy machine one took more than 30
_PAUSE = 0.2  # seconds, between two looks
# Of `readdress MAC` the status is 0 where all of the guest's interfaces have that, and an address
# if they had one. `ip` tells the MAC that was found with the device where it is not in use: that is
# the guest's own affair. What is started outlives the agent's unit, whose end ends its processes.
SCRIPT = f"""\
found_with() {{
    found=$(ip link show dev "$1" | sed -n 's/.* permaddr \\([0-9a-f:]*\\).*/\\1/p')
    [ "$found" ] || read -r found < "/sys/class/net/$1/address"
    echo "$found"
}}
seconds() {{ cut -d. -f1 /proc/uptime; }}
has_address() {{ ip address show dev "$1" scope global | grep -q inet; }}
name_by_mac() {{
    folder=/run/systemd/networkd.conf.d
    [ ! -e "$folder/vestige.conf" ] || return 0
    mkdir -p "$folder"
    printf '[DHCPv4]\\nDUIDType=link-layer\\n[DHCPv6]\\nDUIDType=link-layer\\n' \\
        > "$folder/vestige.conf"
    systemctl try-restart systemd-networkd
}}
apart() {{
    if [ -d /run/systemd/system ]; then systemd-run --scope --quiet "$@"; else "$@"; fi
}}
replace() {{
    had=0 why="keeps its MAC, and no frame of it passes: its driver does not let the device go"
    if has_address "$2"; then had=1; fi
    echo "$1" > "$driver/unbind" || return
    why="is gone: its driver does not take the device again"
    rm -f /var/lib/dhcp/dhclient*."$2".leases
    if command -v ifdown; then ifdown --force "$2"; fi
    if systemctl is-active systemd-networkd; then name_by_mac; fi
    echo "$1" > "$driver/bind" || return
    why="has MAC $3, and no address {PATIENCE:.0f} s later:"
    why="$why no DHCP server answers, or nothing sets it up"
    if command -v udevadm; then udevadm settle; fi
    if command -v ifquery; then apart ifup --allow=auto "$2" & fi
    end=$(($(seconds) + {PATIENCE:.0f}))
    while [ "$had" = 1 ] && ! has_address "$2"; do
        [ "$(seconds)" -lt "$end" ] || return
        sleep {_PAUSE}
    done
}}
readdress() {{
    status=0 driver=/sys/bus/virtio/drivers/virtio_net
    for place in "$driver"/virtio*/net/*; do
        name=${{place##*/}} device=${{place%/net/*}}
        [ -e "$place" ] && [ "$(found_with "$name" 2> /dev/null)" != "$1" ] || continue
        replace "${{device##*/}}" "$name" "$1" < /dev/null > /dev/null 2>&1 && continue
        echo "$name $why" >&2
        status=1
    done
    return "$status"
}}
"""
