"""What makes decisions visible in OpenTelemetry: server spans, the span processor, the exporter's set-up."""
