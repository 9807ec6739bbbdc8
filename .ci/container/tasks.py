"""The IDs of the simulated tasks, and of what they make."""

FINISHED, FAILED, ENDLESS, LATER, STRANGER = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "12349")
EXAMPLE = "26986bc0-748a-4448-b836-0a2aa465eb06"
INSTANCE = "aaaaaaaa-0000-4000-8000-000000000000"
