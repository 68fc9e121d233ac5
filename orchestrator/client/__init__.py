"""The SDK: registry, Context, replay driver, handles and options."""
