#!/bin/sh
# Assemble the gateway's root file system. Usage: assemble.sh DIRECTORY
set -eu
root=$1
programs="/usr/sbin/lighttpd /usr/bin/busybox"
# mod_setenv is part of the program.
modules="mod_auth mod_authn_file mod_magnet mod_openssl mod_proxy"

mkdir -p "$root/etc/lighttpd" "$root/tmp" "$root/usr/bin" "$root/usr/sbin" "$root/var/empty" \
    "$root/var/spool/lighttpd"
chmod 1777 "$root/tmp" "$root/var/spool/lighttpd"
for directory in bin sbin lib lib64; do
    mkdir -p "$root/usr/$directory"
    ln -s "usr/$directory" "$root/$directory"
done

# Copy a file to where its directory really is, past Debian's /lib -> /usr/lib.
place() {
    target=$root$(realpath "$(dirname "$1")")
    mkdir -p "$target"
    cp -L "$1" "$target/"
}

# Print the libraries that a program or a library loads.
libraries() {
    ldd "$1" 2>/dev/null | grep -o '/[^ ]*\.so[^ ]*' || true
}

for name in $modules; do
    programs="$programs /usr/lib/lighttpd/$name.so"
done
for file in $programs; do
    place "$file"
    for library in $(libraries "$file"); do
        place "$library"
    done
done
install -m 644 "$(dirname "$0")/answers.lua" "$root/etc/lighttpd/"
# lighttpd evaluates part of its configuration with /bin/sh.
ln -s busybox "$root/usr/bin/sh"
for name in busybox-static lighttpd; do
    place "/usr/share/doc/$name/copyright"
done

cat >"$root/etc/passwd" <<END
root:x:0:0:root:/:/bin/false
jobctl:x:65532:65532:jobctl:/tmp:/bin/false
END
cat >"$root/etc/group" <<END
root:x:0:
jobctl:x:65532:
END
