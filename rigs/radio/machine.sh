#!/usr/bin/env bash
# Makes a machine to boot under QEMU: Debian's kernel, and an initramfs of Debian's packages with BlueZ, its
# emulator of controllers, and wpa_supplicant. Nothing is installed. Usage: machine.sh FOLDER
set -euo pipefail
folder=$1
mkdir -p "$folder/debs"
self=$(readlink -f "$0")
cd "$folder"
# A machine that an earlier version of this file made is made anew.
made=$(sha256sum "$self" | cut -c1-16)
[ -e machine.cpio ] && [ -e vmlinuz ] && [ "$(cat made 2>/dev/null)" = "$made" ] && exit 0

wanted="bluez bluez-test-tools wpasupplicant network-manager dnsmasq-base iw iproute2 dbus dbus-daemon dbus-bin kmod busybox-static dash tcpdump dosfstools"
kernel=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image/ { print $2; exit }')
# What these depend on, but for what a machine without a root file system does not need.
unneeded='debconf|cdebconf|perl|libperl|dpkg|adduser|passwd|systemd|dbus-session|dbus-user|dbus-x11|dbus-broker|init-system|lsb-base|udev|login|mawk|base-files|gpgv|apt|python|sysvinit|gcc-|libc6-|debianutils|opensysusers|tar$|hostname|libgdbm|ucf|sensible|dmsetup|media|libc-bin|coreutils|sed$|grep$|libicu|libsemanage|libsepol|install-info|finalrd|runit|kmod-|multiarch|libdevmapper|libcryptsetup|libfdisk|libargon2|elogind|libslang|newt|policykit|polkitd|libpolkit-agent|modemmanager|libpam|sgml|xml-core|libduktape|libmozjs'
needed=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances $wanted |
    grep -E '^[a-z0-9]' | sort -u | grep -vE "^($unneeded)")
(cd debs && apt-get download -qq "$kernel" $needed 2>/dev/null) || [ -n "$(ls debs/bluez_*.deb 2>/dev/null)" ]

rm -rf root kernel
mkdir -p kernel root/usr/{bin,sbin,lib,lib64} root/{proc,sys,dev,run/dbus,tmp,etc,out,test,root,mnt,var/lib/bluetooth}
for deb in debs/linux-image-*.deb; do dpkg-deb -x "$deb" kernel; done
cp kernel/boot/vmlinuz-* vmlinuz
for link in bin sbin lib lib64; do ln -s usr/$link root/$link; done
for deb in debs/*.deb; do
    case $deb in *linux-image*) continue ;; esac
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C root --keep-directory-symlink --exclude='./usr/share/doc*' --exclude='./usr/share/man*' --exclude='./usr/share/locale*'
done
ln -sf dash root/usr/bin/sh
for tool in $(root/usr/bin/busybox --list); do
    [ -e "root/usr/bin/$tool" ] || [ -e "root/usr/sbin/$tool" ] || ln -s /usr/bin/busybox "root/usr/bin/$tool"
done
printf 'root:x:0:0::/root:/bin/sh\nmessagebus:x:100:107::/nonexistent:/bin/false\nnobody:x:65534:65534::/nonexistent:/bin/false\n' >root/etc/passwd
printf 'root:x:0:\nnogroup:x:65534:\nmessagebus:x:107:\nnetdev:x:108:\nbluetooth:x:109:\n' >root/etc/group

modules="virtio_pci 9p 9pnet_virtio hci_vhci bluetooth rfcomm mac80211_hwsim mac80211 cfg80211 rfkill veth uhid algif_hash algif_skcipher af_alg ecb cmac ccm gcm ctr michael_mic crc32c_generic drbg ansi_cprng sha512_generic ecdh_generic virtio_rng virtio_blk vfat fat nls_cp437 nls_iso8859_1 nls_ascii nls_utf8 loop bridge sch_netem sch_tbf"
version=$(ls kernel/lib/modules)
/sbin/depmod -b "$PWD/kernel" "$version"
python3 - "$version" $modules <<'P'
import os, shutil, sys
version, wanted = sys.argv[1], sys.argv[2:]
base = f"kernel/lib/modules/{version}"
needs = {line.split(":")[0]: line.split(":")[1].split() for line in open(base + "/modules.dep")}
paths = {os.path.basename(path).split(".ko")[0].replace("-", "_"): path for path in needs}
for name in wanted:
    path = paths.get(name.replace("-", "_"))
    for path in [path, *needs[path]] if path else []:
        to = f"root/usr/lib/modules/{version}/{path}"
        os.makedirs(os.path.dirname(to), exist_ok=True)
        shutil.copy(f"{base}/{path}", to)
for name in ("modules.builtin", "modules.order", "modules.builtin.modinfo"):
    if os.path.exists(f"{base}/{name}"):
        shutil.copy(f"{base}/{name}", f"root/usr/lib/modules/{version}/{name}")
P
/sbin/depmod -b "$PWD/root" "$version"

cat >root/init <<'I'
#!/usr/bin/busybox sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
for at in /run /tmp /dev/shm; do mount -t tmpfs tmpfs $at; done
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
ip link set lo up
modprobe -a virtio_pci 9pnet_virtio 9p
mount -t 9p -o trans=virtio,version=9p2000.L out /out
mkdir -p /run/dbus
/test/guest.sh
rc=$?
echo $rc >/out/rc
sync
poweroff -f
I
chmod +x root/init
rm -rf root/usr/share/{perl,glib-2.0,gdb,polkit-1,zsh,bug,doc-base,lintian,keyrings,info,bash-completion} root/usr/lib/x86_64-linux-gnu/{perl-base,gconv}
(cd root && find . | cpio -o -H newc --quiet) >machine.cpio
rm -rf root kernel
echo "$made" >made
