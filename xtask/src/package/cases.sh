# SPDX-License-Identifier: MIT OR Apache-2.0
# What a script of cases takes that runs in a small Debian.
begin() {
    scenario=$1
}

# Installs files of packages, and what they depend on.
install() {
    apt-get install --yes --no-install-recommends --allow-downgrades "$@" < /dev/null
}

# All files, but for what dpkg, apt and DKMS note down for themselves, and what is made again from other files.
everything() {
    find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /work \
        -o -path /var/cache -o -path /var/log -o -path /var/lib/dpkg -o -path /var/lib/apt \
        -o -path '/var/lib/dkms/mok.*' -o -path '/boot/initrd.img-*' -o -path /etc/ld.so.cache \
        -o -path '/usr/lib/modules/*/modules.*' -o -path '/var/lib/systemd/deb-systemd-helper-*' \) -prune -o -print | sort
}

# nothing_left BEFORE: the files are those that the file BEFORE lists.
nothing_left() {
    everything | diff "$1" -
}

# owned PACKAGE...: each file below the folders that the packages' files are in belongs to a package.
owned() {
    for package; do
        dpkg -L "$package" | grep ^/ | while read -r path; do
            [ -e "$path" ] || echo "$package lacks $path"
        done
        dpkg -V "$package"
    done | grep . && return 1
    return 0
}
