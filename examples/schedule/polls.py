"""Print when waiter would poll a task: ``python polls.py [--price SECONDS] [DURATION...]``.

The durations are those of past tasks of the same type, in seconds. No request is made.
"""

import argparse

from waiter import History, Schedule


def main() -> None:
    """Print the first polls of the schedule, without its jitter, and the time left as estimated at each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--price", type=float, default=0.05, help="the delay in seconds that one request is worth (0.05)")
    parser.add_argument("--polls", type=int, default=20, metavar="N", help="how many polls to print (20)")
    parser.add_argument("durations", type=float, nargs="*", metavar="DURATION", help="past durations in seconds")
    args = parser.parse_args()
    schedule = Schedule(price=args.price, history=History(args.durations))
    age = 0.0
    print("   age     next  time left (half of such tasks, nine in ten)")
    for _ in range(args.polls):
        interval = schedule.interval(age)
        left = schedule.time_left(age)
        estimate = f"{left.median:.0f} s" if left else "unknown"
        if left and left.p90 is not None:
            estimate += f", {left.p90:.0f} s"
        print(f"{age:6.1f} {interval:8.1f}  {estimate}")
        age += interval


if __name__ == "__main__":
    main()
