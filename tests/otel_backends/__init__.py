"""Real OpenTelemetry backends, asked what they were told: `make otel-backends`."""
