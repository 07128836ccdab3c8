"""LiteLLM's hook for checking who calls: a token of the provider, made for this gateway, or 401.

LiteLLM's environment says what is expected: ISSUER (the exact `iss`), AUDIENCE (what `aud` must contain) and JWKS_URL
(the provider's `jwks_uri`). Lies beside LiteLLM's configuration, which names it:

    general_settings:
      custom_auth: custom_auth.user_api_key_auth
"""

import asyncio
import os
import time

import jwt
from fastapi import Request
from litellm.proxy._types import ProxyException, UserAPIKeyAuth

ISSUER = os.environ["ISSUER"]
AUDIENCE = os.environ["AUDIENCE"]
ALGORITHMS = ["RS256", "PS256", "ES256", "ES384", "EdDSA"]
LEEWAY = 60  # seconds that the clocks may differ


class Keys:
    """The provider's signing keys.

    They are kept for an hour, and for a day where the provider does not answer. A token that names an unknown key has
    them fetched again, six times a minute at most, so that made-up tokens cannot make this gateway flood the provider.
    Fetching is done in a thread, once at a time: other requests go on meanwhile.
    """

    KEPT, KEPT_WITHOUT_ANSWER, FETCHES_A_MINUTE = 3600, 86400, 6

    def __init__(self, url):
        self.client = jwt.PyJWKClient(url, cache_jwk_set=False, timeout=10)
        self.keys, self.fetched, self.tried, self.turn = {}, float("-inf"), [], asyncio.Lock()

    def known(self, kid):
        return self.keys.get(kid) if time.monotonic() - self.fetched < self.KEPT else None

    async def find(self, kid):
        if self.known(kid) is None:
            async with self.turn:
                if self.known(kid) is None:
                    await self.fetch()
        if time.monotonic() - self.fetched > self.KEPT_WITHOUT_ANSWER:
            raise refused("the provider's keys cannot be fetched", 503)
        return self.keys.get(kid)

    async def fetch(self):
        now = time.monotonic()
        self.tried = [then for then in self.tried if now - then < 60]
        if len(self.tried) >= self.FETCHES_A_MINUTE:
            return
        self.tried.append(now)
        try:
            found = await asyncio.to_thread(self.client.get_signing_keys)
        except jwt.PyJWTError:
            return
        self.keys, self.fetched = {key.key_id: key for key in found}, now


KEYS = Keys(os.environ["JWKS_URL"])


def refused(message, code=401):
    return ProxyException(message=message, type="auth_error", param="token", code=code)


async def user_api_key_auth(request: Request, api_key: str) -> UserAPIKeyAuth:
    try:
        key = await KEYS.find(jwt.get_unverified_header(api_key).get("kid"))
        if key is None:
            raise refused("the token is signed by a key that the issuer does not have")
        claims = jwt.decode(
            api_key, key.key, algorithms=ALGORITHMS, issuer=ISSUER, audience=AUDIENCE, leeway=LEEWAY,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
    except (jwt.PyJWTError, TypeError, ValueError) as error:
        raise refused(str(error)) from None
    return UserAPIKeyAuth(api_key=claims["sub"], user_id=claims["sub"], user_email=claims.get("email"))
