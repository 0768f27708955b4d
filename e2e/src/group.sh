# Runs a command for a process that may die at any moment: `sh -c "$(cat group.sh)" group COMMAND ARGUMENT...`.
#
# This shell leads a process group, and its stdin is a pipe from the owner. When the pipe closes, for example because the
# owner was killed, the whole group is killed. The command's stdin is empty.
exec 3<&0 </dev/null
"$@" 3<&- &
command=$!
{ read -r _ <&3; kill -KILL 0; } &
watch=$!
exec 3<&-
wait "$command"
code=$?
kill -KILL "$watch"
exit "$code"
