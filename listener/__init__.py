"""From chain to promises: finalised logs become durable invocations, exactly once."""
