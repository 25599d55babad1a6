#!/bin/sh
# Plays a role for the driver conformance kit: `role.sh ROLE`, with the names and meanings that fnd.testing.Role gives,
# but for `serves`: a POSIX shell binds no socket.

sleep_forever() {
    while :; do
        sleep 1000 &
        wait $!
    done
}

case $1 in
copies)
    cat
    echo "end of input" >&2
    ;;
exits)
    exit 7
    ;;
killed)
    kill -KILL $$
    # The first process of a namespace cannot kill itself, but the kernel can.
    ulimit -t 1
    while :; do :; done
    ;;
talks)
    number=0
    while [ $number -lt 20000 ]; do
        echo "stdout $number"
        echo "stderr $number" >&2
        number=$((number + 1))
    done
    printf "stdout end"
    printf "stderr end" >&2
    ;;
chatters)
    while :; do
        echo stdout
        echo stderr >&2
    done
    ;;
reports)
    cat /proc/$$/environ
    ;;
waits)
    trap 'exit 0' TERM
    echo ready
    sleep_forever
    ;;
stubborn)
    trap '' TERM HUP INT
    sleep 100000 &
    echo ready
    while :; do
        sleep 1000
    done
    ;;
leaves-children)
    trap '' TERM HUP INT
    sleep 100000 & # holds the log open
    (sleep 100000 <&- >&- 2>&- &)
    echo ready
    ;;
takes-memory)
    piece=xxxxxxxxxxxxxxxx
    while [ ${#piece} -lt 1000000 ]; do
        piece=$piece$piece
    done
    taken=
    while :; do
        taken=$taken$piece
        sleep 0.01
    done
    ;;
forks)
    # A shell that cannot fork any more ends.
    trap 'exit 0' TERM
    number=0
    while [ $number -lt 300 ]; do
        sleep 100000 &
        echo forked
        number=$((number + 1))
    done
    echo ready
    sleep_forever
    ;;
computes)
    trap 'exit 0' TERM
    while :; do :; done &
    echo ready
    while :; do :; done
    ;;
built)
    cat "$(dirname "$0")/word"
    ;;
esac
