# SPDX-License-Identifier: MIT OR Apache-2.0
# Makes the packages of the source in /work/$1, and has lintian look at them.
cd "/work/$1"
# Nothing is compiled here, so that no compiler has to be there.
dpkg-buildpackage --no-sign --build=binary --no-check-builddeps
lintian --allow-root --fail-on error,warning --tag-display-limit 0 ../*_"$(dpkg-parsechangelog -S Version)"_*.changes
