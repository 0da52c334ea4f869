"""What a command is told: flags, environment, Invoke's configuration and wrangler's."""
