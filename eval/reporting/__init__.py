"""What the report is made of: one content as plain values, and a page, a table, a JSON file and a model card drawn from it."""
