"""LiteLLM's own hook for checking who calls: a token of the provider, for this gateway, or 401."""

import os

import jwt
from fastapi import Request
from litellm.proxy._types import ProxyException, UserAPIKeyAuth

KEYS = jwt.PyJWKClient(os.environ["JWKS_URL"], cache_jwk_set=False)


async def user_api_key_auth(request: Request, api_key: str) -> UserAPIKeyAuth:
    try:
        key = KEYS.get_signing_key_from_jwt(api_key)
        claims = jwt.decode(
            api_key, key.key, algorithms=["ES256", "RS256"],
            issuer=os.environ["ISSUER"], audience=os.environ["AUDIENCE"],
            options={"require": ["exp", "iss", "aud"]},
        )
    except jwt.PyJWTError as error:
        raise ProxyException(message=str(error), type="auth_error", param="token", code=401)
    return UserAPIKeyAuth(api_key=claims["sub"], user_id=claims["sub"])
