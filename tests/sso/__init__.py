"""Single sign-on against real OpenID providers."""
