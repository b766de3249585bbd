#!/bin/sh
# After unpacking, and at the end of "make install": the user, the units that were
# running before, and what to do next. A deb says "configure" and, for an upgrade, the
# version before; rpm says how many are installed then; make says "install" and where
# the sysusers.d(5) file lies.
set -e
sysusers=mamma.conf
if [ "$1" = install ]; then sysusers=$2; fi
if command -v systemd-sysusers >/dev/null 2>&1; then
	systemd-sysusers "$sysusers"
elif ! getent passwd mamma >/dev/null; then
	useradd --system --user-group --home-dir /var/lib/mamma --shell /usr/sbin/nologin mamma
fi
running=${MAMMA_SYSTEMD-/run/systemd/system} # a test has its own
if [ -d "$running" ]; then
	systemctl daemon-reload
	systemctl try-restart mamma.service muacsocksd.service
fi
case "$1,$2" in
configure, | 1,* | install,*)
	echo "mamma is installed. Its configuration is /etc/mamma/mamma.conf, or mamma --init > FILE writes one."
	if [ -d "$running" ]; then
		echo "To start it now and at each boot:"
		echo "  systemctl enable --now mamma.socket mamma-control.socket mamma.service muacsocksd.socket"
		echo "Then: mammactl status"
	else
		echo "To start it: mamma /etc/mamma/mamma.conf, then: mammactl status"
	fi
	;;
esac
