# Runs servers for a process that may die at any moment: `sh -c "$(cat supervise.sh)" supervise DIR`.
#
# Commands are read from stdin, one per line: `start NAME PROGRAM ARGUMENT...` and `stop NAME`, quoted as for a shell.
# DIR/NAME.log gets the server's output, and DIR/NAME.exit its exit code once it has ended. When stdin ends, because the
# owner closed it, returned, panicked or was killed, every server is killed and DIR is removed. The servers are killed
# rather than terminated: their data is removed anyway, and kube-apiserver would wait for an etcd that has ended. None of
# this relies on DIR, which somebody may be removing.
dir=$1
# NAME:PROCESS of the server that was last started under each name.
servers=
trap '' HUP INT TERM

start() {
  name=$1
  shift
  others=
  for server in $servers; do
    case $server in "$name":*) ;; *) others="$others $server" ;; esac
  done
  # The process id is passed through the pipe of the substitution; the subshell that waits for the server closes it.
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
# A subshell may be writing the last exit code.
for _ in 1 2 3 4 5 6 7 8 9 10; do
  rm -rf "$dir" && break
  sleep 0.05
done
