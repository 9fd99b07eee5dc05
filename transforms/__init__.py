"""What happens to one element: records, pure functions, readers, segmenters, policies, steps."""
