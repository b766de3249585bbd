#!/bin/sh
# After unpacking: the user, and the units that were running before.
set -e
if command -v systemd-sysusers >/dev/null 2>&1; then
	systemd-sysusers mamma.conf
elif ! getent passwd mamma >/dev/null; then
	useradd --system --user-group --home-dir /var/lib/mamma --shell /usr/sbin/nologin mamma
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart mamma.service muacsocksd.service
fi
