"""The wire protocol: commands, answers, messages, records and their JSON envelope."""
