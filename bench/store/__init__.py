"""The series store beside other trackers: time to read a chart, and cost of a point."""
