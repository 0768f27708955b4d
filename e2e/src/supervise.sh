# Runs servers for a process that may die at any moment: `sh -c "$(cat supervise.sh)" supervise DIR`.
#
# Commands come in on stdin, one a line: `start NAME PROGRAM ARGUMENT...` and `stop NAME`, quoted as for a shell.
# DIR/NAME.log gets what the server prints, DIR/NAME.exit its exit code once it has ended. When stdin ends, be it that
# the owner closed it, returned, panicked or was killed, every server is killed and DIR removed. Killed, not asked: their
# data goes too, and kube-apiserver waits for an etcd that is gone. Nothing of that counts on DIR: somebody may be
# removing it.
dir=$1
# NAME:PROCESS of each that was started last under its name.
servers=
trap '' HUP INT TERM

start() {
  name=$1
  shift
  others=
  for server in $servers; do
    case $server in "$name":*) ;; *) others="$others $server" ;; esac
  done
  # The process id comes by the pipe of the substitution; who waits for the server goes on without it.
  process=$(
    (
      "$@" </dev/null >>"$dir/$name.log" 2>&1 &
      echo $!
      exec >/dev/null 2>&1
      wait $!
      echo $? >"$dir/$name.exit"
    ) &
  )
  servers="$others $name:$process"
}

stop() {
  for server in $servers; do
    case $server in "$1":*) [ -e "$dir/$1.exit" ] || kill -KILL "${server#*:}" ;; esac
  done
}

while read -r command; do eval "$command"; done
for server in $servers; do stop "${server%%:*}"; done
for server in $servers; do
  while kill -0 "${server#*:}"; do sleep 0.01; done
done
rm -rf "$dir"
