"""Single sign-on: signing in through an OpenID Connect provider, and Settings → Single sign-on.

django-allauth does the OAuth part (state, PKCE, exchange of the code). Here is what it leaves open: the nonce, the check of
the ID token, who may come in, and the record of all of it.
"""
