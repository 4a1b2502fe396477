"""Connector for Stripe: PaymentIntents, or the older Charges."""
