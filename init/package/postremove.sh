#!/bin/sh
# After removal, not after an upgrade: deb says "remove" and later perhaps "purge",
# rpm 0. The user stays, as files of its may be left anywhere.
set -e
case "$1" in
purge)
	rm -rf /var/lib/mamma /var/log/mamma /var/lib/muacsocksd /var/lib/private/muacsocksd
	;;
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl daemon-reload
	fi
	rm -rf /run/mamma
	;;
esac
