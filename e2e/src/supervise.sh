# Runs servers for a process that may die at any moment: `sh -c "$(cat supervise.sh)" supervise DIR`.
#
# Commands come in on stdin, one a line: `start NAME PROGRAM ARGUMENT...` and `stop NAME`, quoted as for a shell.
# DIR/NAME.log gets what the server prints, DIR/NAME.pid its process id, DIR/NAME.exit its exit code once it has
# ended. When stdin ends, be it that the owner closed it, returned, panicked or was killed, every server is killed and
# DIR removed. Killed, not asked: their data goes too, and kube-apiserver waits for an etcd that is gone.
dir=$1
servers=
trap '' HUP INT TERM

start() {
  name=$1
  shift
  rm -f "$dir/$name.pid"
  (
    "$@" </dev/null >>"$dir/$name.log" 2>&1 &
    echo $! >"$dir/$name.pid"
    wait $!
    echo $? >"$dir/$name.exit"
  ) &
  # The process id is there before the next command, a `stop` maybe, is read.
  while ! [ -s "$dir/$name.pid" ]; do sleep 0.01; done
  servers="$servers $name"
}

stop() {
  [ -e "$dir/$1.exit" ] || kill -KILL "$(cat "$dir/$1.pid")"
}

while read -r command; do eval "$command"; done
for server in $servers; do stop "$server"; done
wait
rm -rf "$dir"
