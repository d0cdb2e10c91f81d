# SPDX-License-Identifier: MIT OR Apache-2.0
# Names and figures that several scripts use.

# Shared pools' name, as the test guest asks for them.
shared=efcdab89-6745-2301-1032-547698badcfe

# A key of a domain's line in the list.
figure() {
    id=$(xl domid "$1") || return
    tmemctl list --raw "$id" |
        awk -F '[=,:]' -v key="$2" '/^C=/ { for (i = 2; i < NF; i += 2) if ($i == key) print $(i + 1) }'
}

figure_is() {
    test "$(figure "$1" "$2")" = "$3"
}
