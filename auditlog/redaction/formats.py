r"""Define the table of well-known formats of tokens and keys.  Pure.

Facts from the public documentation of the issuers and the public rule lists of secret scanners:
which prefix, which alphabet, which length.  A row matches from the start of a run of characters
without blanks; every repetition is bounded or goes to the end of the run, so a row that does not
match costs no more than the row's least length.

Invariants (tests of the same name in tests/auditlog/redaction/test_formats.py):
  found       an example of every row is found, wherever in a text it stands
  near_miss   what only shares a row's prefix is not found
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple

from auditlog.redaction.looks import basic_credentials, changes, looks_random

__all__ = ["FORMATS", "Format", "find_formats", "has_checksum"]


class Format(NamedTuple):
    """One row: the rule's name, whose tokens it finds, and their pattern."""

    rule: str
    issuer: str
    pattern: str
    check: Callable[[str], bool] | None = None


def _mixed(text: str) -> bool:
    """Digits and letters, as a name in words seldom has them."""
    return any(c.isdigit() for c in text) and changes(text) >= 3


def _digits(text: str) -> bool:
    return any(c.isdigit() for c in text)


def has_checksum(token: str) -> bool:
    """Whether a token of GitHub or npm ends with its checksum.

    That is the CRC-32 of its 30 random characters in base 62, six digits
    (github.blog/2021-04-05-behind-githubs-new-authentication-token-formats).  A wrong one clears no
    token, since one that was mistyped or made up is hidden as well.
    """
    body = token.rpartition("_")[2]
    if len(body) != _CHECKED_CHARACTERS:
        return False
    number, stated = zlib.crc32(body[:-6].encode()), ""
    for _ in range(6):
        number, rest = divmod(number, 62)
        stated = _BASE62[rest] + stated
    return body[-6:] == stated


_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHECKED_CHARACTERS: Final = 36
_B62: Final = "[A-Za-z0-9]"
_URL: Final = r"[A-Za-z0-9_-]"
_HEX: Final = "[0-9a-f]"
_UUID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

FORMATS: Final[tuple[Format, ...]] = (
    Format("github_token", "GitHub", rf"gh[pousr]_{_B62}{{16,255}}(?![A-Za-z0-9_])", _digits),
    Format("github_token", "GitHub (fine-grained)", r"github_pat_[A-Za-z0-9_]{22,255}", _digits),
    Format("gitlab_token", "GitLab", rf"(?:glpat|gldt|glrt|glrtr|glft|glsoat|glcbt|glptt|glagent|gloas|glimt|glffct|glwt)-(?:t[123]_|[0-9]+_)?{_URL}{{18,300}}(?:\.[0-9a-z.]{{2,20}})?", _digits),
    Format("gitlab_token", "GitLab runners", rf"GR1348941{_URL}{{18,50}}"),
    Format("slack_token", "Slack", r"xox[a-z]-[A-Za-z0-9-]{11,250}|xoxe\.xox[bp]-[A-Za-z0-9-]{10,250}", _digits),
    Format("slack_token", "Slack apps", r"xapp-[0-9]-[A-Za-z0-9-]{16,250}", _digits),
    Format("stripe_key", "Stripe, Clerk and others", rf"(?:sk|rk|pk|ek|sess)_(?:live|test|prod)_{_B62}{{10,250}}", _digits),
    Format("webhook_secret", "Stripe, Svix", r"whsec_[A-Za-z0-9+/=]{24,100}"),
    Format("openai_key", "OpenAI and compatible", rf"sk-(?:proj|svcacct|admin|None)-{_URL}{{20,300}}", _digits),
    Format("anthropic_key", "Anthropic", rf"sk-ant-(?:api|admin|oat|sid|ort)[0-9]{{2}}-{_URL}{{20,300}}"),
    Format("openai_key", "OpenRouter, Langfuse", rf"(?:sk|pk)-(?:or-v1-{_HEX}{{32,128}}|lf-{_UUID})"),
    Format("openai_key", "OpenAI, DeepSeek and compatible", rf"sk-{_B62}{{20,128}}(?![A-Za-z0-9_-])", _digits),
    Format("huggingface_token", "Hugging Face", rf"(?:hf_|api_org_){_B62}{{20,64}}(?![A-Za-z0-9_])"),
    Format("google_key", "Google API keys", rf"AIza{_URL}{{30,50}}"),
    Format("google_token", "Google OAuth clients", rf"GOCSPX-{_URL}{{20,40}}"),
    Format("google_token", "Google refresh tokens", rf"1//0{_URL}{{30,250}}", _digits),
    Format("google_token", "Google access tokens", r"ya29\.[A-Za-z0-9_.-]{20,1000}", _digits),
    Format("google_token", "Firebase messaging", rf"AAAA{_URL}{{7}}:{_URL}{{120,200}}"),
    Format("aws_key_id", "AWS access key ids", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,20}(?![A-Za-z0-9])", _digits),
    Format("aws_token", "AWS Bedrock", r"(?:ABSK[A-Za-z0-9+/]{100,200}={0,2}|bedrock-api-key-[A-Za-z0-9+/=]{20,2000})"),
    Format("aws_token", "AWS session tokens", r"(?:IQoJb3JpZ2lu|FwoGZXIvYXdz|FQoGZXIvYXdz)[A-Za-z0-9+/=%]{50,2000}"),
    Format("amazon_token", "Amazon MWS", rf"amzn\.mws\.{_UUID}|amzn1\.oa2-cs\.v1\.{_HEX}{{64}}"),
    Format("alibaba_key", "Alibaba Cloud", r"LTAI[A-Za-z0-9]{16,24}(?![A-Za-z0-9])", _digits),
    Format("tencent_key", "Tencent Cloud", r"AKID[A-Za-z0-9]{28,36}(?![A-Za-z0-9])", _digits),
    Format("azure_secret", "Microsoft Entra client secrets", r"[A-Za-z0-9_.~-]{3}[0-9]Q~[A-Za-z0-9_.~-]{28,42}"),
    Format("npm_token", "npm", rf"npm_{_B62}{{30,50}}(?![A-Za-z0-9_])", _digits),
    Format("pypi_token", "PyPI", rf"pypi-Ag[A-Za-z0-9]{{4}}{_URL}{{20,500}}"),
    Format("rubygems_token", "RubyGems", rf"rubygems_{_HEX}{{40,64}}"),
    Format("nuget_key", "NuGet", r"oy2[a-z0-9]{43}(?![a-z0-9])", _digits),
    Format("crates_token", "crates.io, Clojars", rf"cio{_B62}{{32}}(?![A-Za-z0-9])|CLOJARS_[a-z0-9]{{50,70}}", _digits),
    Format("docker_token", "Docker Hub", rf"dckr_(?:pat|oat)_{_URL}{{20,64}}"),
    Format("sendgrid_key", "SendGrid", rf"SG\.{_URL}{{16,32}}\.{_URL}{{16,64}}"),
    Format("mailgun_key", "Mailgun", rf"(?:key|pubkey)-{_HEX}{{32}}(?![A-Za-z0-9])"),
    Format("mailchimp_key", "Mailchimp", rf"{_HEX}{{32}}-us[0-9]{{1,2}}(?![A-Za-z0-9])"),
    Format("brevo_key", "Brevo", rf"xk?(?:eysib|smtpsib)-{_HEX}{{40,70}}-{_B62}{{10,20}}"),
    Format("resend_key", "Resend", rf"re_{_B62}{{6,12}}_{_B62}{{16,40}}", _digits),
    Format("twilio_key", "Twilio", rf"SK{_HEX}{{32}}(?![A-Za-z0-9])"),
    Format("newrelic_key", "New Relic", r"NR(?:AK|AA|II|JS|IQ|RA|SP|BR)-[A-Za-z0-9-]{19,64}", _digits),
    Format("grafana_token", "Grafana", rf"glsa_{_B62}{{32}}_[0-9A-Fa-f]{{8}}|glc_[A-Za-z0-9+/=]{{32,400}}"),
    Format("datadog_key", "Datadog", rf"dd(?:ap[ip]|pat|oat)_{_URL}{{20,80}}", _digits),
    Format("sentry_token", "Sentry", r"sntr(?:ys|yu|ya|yi)_[A-Za-z0-9+/=_-]{40,400}"),
    Format("honeycomb_key", "Honeycomb, Dynatrace", r"hc[a-z][iocl]k_[0-9a-z]{58}|dt0[a-z][0-9]{2}\.[A-Z0-9]{24}\.[A-Z0-9]{64}"),
    Format("vault_token", "HashiCorp Vault", rf"hv[sbr]\.{_URL}{{20,300}}", _digits),
    Format("vault_token", "HashiCorp Vault before 1.10", rf"[sbr]\.{_B62}{{24}}(?![A-Za-z0-9_.-])", _mixed),
    Format("terraform_token", "HCP Terraform", rf"{_B62}{{14}}\.atlasv1\.{_URL}{{60,80}}"),
    Format("doppler_token", "Doppler", rf"dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[a-z0-9_-]{{1,40}}\.)?{_B62}{{38,46}}"),
    Format("onepassword_token", "1Password", rf"ops_eyJ{_URL}{{100,1500}}|A3-[A-Z0-9]{{6}}-[A-Z0-9]{{6,11}}-[A-Z0-9-]{{15,20}}"),
    Format("infisical_token", "Infisical, Bitwarden", rf"st\.{_HEX}{{24}}\.{_HEX}{{32}}\.{_HEX}{{32}}|0\.{_UUID}\.{_B62}{{20,50}}:[A-Za-z0-9+/=]{{20,40}}"),
    Format("digitalocean_token", "DigitalOcean", rf"do[opr]_v1_{_HEX}{{40,64}}"),
    Format("hosting_token", "Heroku, Render, Neon", rf"(?:HRKU-AA|rnd_|napi_){_URL}{{24,70}}", _digits),
    Format("scaleway_key", "Scaleway", r"SCW[A-Z0-9]{17}(?![A-Za-z0-9])", _digits),
    Format("flyio_token", "Fly.io", r"(?:fo1_|fm1[ar]?_|fm2_)[A-Za-z0-9+/=_,-]{40,1000}"),
    Format("tailscale_key", "Tailscale", r"tskey-[a-z]{2,12}-[A-Za-z0-9]{5,20}(?:CNTRL)?-[A-Za-z0-9]{16,60}"),
    Format("cloudflare_key", "Cloudflare", rf"v1\.0-{_HEX}{{24}}-{_HEX}{{146}}|cf(?:ut|at|k)_{_B62}{{40,60}}"),
    Format("netlify_token", "Netlify, Vercel, Supabase", rf"nfp_{_B62}{{30,50}}|vc[a-z]_{_B62}{{24,60}}|sbp_(?:v0_)?{_HEX}{{40}}|sb_secret_{_URL}{{20,60}}", _digits),
    Format("planetscale_token", "PlanetScale", r"pscale_(?:tkn|oauth|pw)_[A-Za-z0-9_=.-]{30,70}"),
    Format("pulumi_token", "Pulumi, Infracost", rf"pul-{_HEX}{{40}}|ico-{_B62}{{32}}"),
    Format("databricks_token", "Databricks", rf"dapi{_HEX}{{32}}(?:-[0-9])?|dose{_HEX}{{32}}"),
    Format("data_platform_token", "dbt, Prefect, Airbyte", rf"dbt[cu]_{_URL}{{30,80}}|pn[ub]_{_B62}{{30,40}}"),
    Format("shopify_token", "Shopify", r"shp(?:at|ca|pa|ss|ua)_[0-9A-Fa-f]{32}"),
    Format("square_token", "Square", rf"sq0(?:atp|csp|idp)-{_URL}{{22,50}}|EAAA[A-Za-z0-9+=_-]{{56,64}}"),
    Format("facebook_token", "Meta", r"EAA(?:[A-Z][A-Za-z0-9]|G)[A-Za-z0-9]{60,400}|IGQV[A-Za-z0-9_-]{60,300}", _digits),
    Format("paypal_token", "PayPal, Braintree", rf"access_token\$(?:production|sandbox)\$[0-9a-z]{{16}}\${_HEX}{{32}}|[AE]21AA{_URL}{{80,100}}"),
    Format("plaid_token", "Plaid", rf"(?:access|public|link)-(?:sandbox|development|production)-{_UUID}"),
    Format("adyen_key", "Adyen, Flutterwave", r"AQE[a-z][A-Za-z0-9+/=_-]{60,300}|FLW(?:SECK|PUBK)(?:_TEST)?-[0-9a-hX-]{12,50}", _digits),
    Format("razorpay_key", "Razorpay, Paystack", rf"rzp_(?:live|test)_{_B62}{{10,30}}", _digits),
    Format("easypost_key", "EasyPost, Duffel, Shippo", rf"EZ[AT]K[A-Za-z0-9]{{54}}|duffel_(?:test|live)_{_URL}{{40,60}}|shippo_(?:live|test)_{_HEX}{{40}}"),
    Format("linear_key", "Linear", rf"lin_(?:api|oauth|wh)_{_B62}{{32,70}}"),
    Format("notion_token", "Notion", rf"(?:secret_|ntn_){_B62}{{40,60}}(?![A-Za-z0-9_])", _digits),
    Format("airtable_key", "Airtable", rf"pat{_B62}{{14}}\.{_HEX}{{64}}"),
    Format("asana_token", "Asana", rf"[0-9]/[0-9]{{13,20}}(?:/[0-9]{{13,20}})?:{_HEX}{{32}}"),
    Format("atlassian_token", "Atlassian", r"AT(?:ATT|CTT|STT|BB)[A-Za-z0-9_=-]{20,300}", _digits),
    Format("figma_token", "Figma", rf"fig[dou][rh]?_{_URL}{{38,60}}"),
    Format("postman_key", "Postman", rf"PMA[KT]-{_B62}{{24,26}}(?:-{_HEX}{{34}})?", _digits),
    Format("hubspot_token", "HubSpot", rf"pat-(?:na|eu|ap)[0-9]-{_UUID}"),
    Format("launchdarkly_key", "LaunchDarkly", rf"(?:sdk|api|mob)-{_UUID}"),
    Format("contentful_token", "Contentful", rf"CFPAT-{_URL}{{40,60}}"),
    Format("buildkite_token", "Buildkite, CircleCI", rf"bk[a-z]{{2}}_{_HEX}{{40}}|CCI(?:PAT|PRJ)_{_B62}{{16,30}}_{_HEX}{{40}}"),
    Format("sonar_token", "SonarQube, Sourcegraph", rf"sq[upa]_{_HEX}{{40}}|sg[ps]_(?:{_B62}{{16}}_)?{_HEX}{{40}}|sgp_local_{_HEX}{{40}}"),
    Format("artifactory_key", "JFrog", rf"AKCp[A-Za-z0-9]{{60,80}}|cmVmdGtu{_B62}{{50,70}}"),
    Format("octopus_key", "Octopus Deploy", r"API-[A-Z0-9]{25,32}(?![A-Za-z0-9])", _digits),
    Format("openshift_token", "OpenShift", rf"sha256~{_URL}{{40,50}}"),
    Format("platform_token", "Ory, Frame.io, ReadMe", rf"ory_(?:at|rt|ac|st|pat|apikey)_{_URL}{{20,120}}|fio-u-{_URL}{{60,70}}|rdme_[a-z0-9]{{70}}", _digits),
    Format("groq_key", "Groq, xAI, Cerebras, Fireworks", rf"(?:gsk_|xai-|csk-|fw_){_B62}{{22,100}}(?![A-Za-z0-9_])", _digits),
    Format("perplexity_key", "Perplexity, Replicate, Tavily", rf"pplx-{_B62}{{32,64}}|r8_{_B62}{{32,48}}|tvly-(?:dev-|prod-)?{_B62}{{20,48}}", _digits),
    Format("langsmith_key", "LangSmith, Pinecone, Nvidia", rf"lsv2_[ps][tk]_{_HEX}{{32}}_{_HEX}{{10}}|pcsk_[A-Za-z0-9_]{{40,90}}|nvapi-{_URL}{{40,90}}", _digits),
    Format("elevenlabs_key", "ElevenLabs, Stability", rf"sk_{_HEX}{{40,64}}(?![A-Za-z0-9])"),
    Format("wandb_key", "Weights & Biases v1, Modal, Jina", rf"wandb_v1_{_URL}{{40,120}}|a[ks]-{_B62}{{22}}(?![A-Za-z0-9-])|jina_{_HEX}{{32}}{_URL}{{20,40}}", _mixed),
    Format("dropbox_token", "Dropbox", rf"sl\.(?:[a-z]\.)?{_URL}{{60,1500}}", _digits),
    Format("zoho_token", "Zoho", rf"1000\.{_HEX}{{32}}\.{_HEX}{{32}}"),
    Format("yandex_token", "Yandex Cloud", rf"AQVN{_URL}{{35,40}}|t1\.[A-Z0-9a-z_-]{{2,200}}\.{_URL}{{86}}|y0_{_URL}{{50,70}}", _digits),
    Format("telegram_token", "Telegram bots", r"(?:bot)?[0-9]{8,10}:A[A-Za-z0-9_-]{33,35}(?![A-Za-z0-9_-])"),
    Format("discord_token", "Discord", rf"[MNO]{_URL}{{23,27}}\.{_URL}{{6}}\.{_URL}{{27,40}}", _mixed),
    Format("saas_token", "Typeform, Sumo, Okta", rf"tfp_[A-Za-z0-9_.=-]{{40,80}}|00{_URL}{{40}}(?![A-Za-z0-9_-])", _mixed),
    Format("age_key", "age", r"AGE-SECRET-KEY-(?:PQ-)?1[A-Z0-9]{40,100}"),
    Format("openssh_key", "OpenSSH private keys without armour", r"b3BlbnNzaC1rZXktdjE[A-Za-z0-9+/=\\n]{20,10000}"),
    Format("paseto", "PASETO", rf"v[1-4]\.(?:local|public)\.{_URL}{{30,4000}}(?:\.{_URL}{{1,2000}})?"),
    Format("macaroon", "Biscuit, macaroons", r"(?:MDAx|AgE)[A-Za-z0-9+/=_-]{80,1500}", _mixed),
    Format("chat_token", "Matrix, Mattermost", r"(?:syt|mat|mct|ser)_[A-Za-z0-9_]{30,100}", _mixed),
    Format("password_hash", "crypt(3), bcrypt, Argon2, PBKDF2", r"\$(?:1|5|6|7|y|gy|2[abxy]?|apr1|sha1|md5|argon2(?:id?|d)|scrypt|pbkdf2(?:-sha(?:1|256|512))?|bcrypt-sha256|P|H|S)\$[A-Za-z0-9./+=,$-]{16,300}"),
    Format("password_hash", "Django, Werkzeug", r"(?:pbkdf2|scrypt|argon2|bcrypt)[_:](?:sha(?:1|256|512)|[0-9]{1,7}:[0-9]:[0-9])[$:][A-Za-z0-9$:./+=]{20,300}"),
    Format("password_hash", "LDAP", r"\{(?:SSHA|SHA|SMD5|MD5|CRYPT|SSHA256|SSHA512|SHA256|SHA512|PBKDF2[A-Z0-9-]*)\}[A-Za-z0-9+/=$.]{16,200}"),
)  # fmt: skip
"""One row a format; several rows may share a rule."""

_NOT_BEFORE: Final = r"(?:(?<![A-Za-z0-9])|(?<=%[0-9A-Fa-f]{2})|(?<=\\[nrt]))"
# All characters that a row can start with after one of which a format may stand.
_RUN: Final = re.compile(r"(?<![^\s\"'<>;()|`])[^\s\"'<>;()|`]{16,}+")
_FORTY: Final = re.compile(r"(?<![A-Za-z0-9/+=_.~-])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=_.~-])")
_BASE64: Final = re.compile(
    r"(?<![A-Za-z0-9/+=_.~-])[A-Za-z0-9+/_-]{16,512}+={0,2}(?![A-Za-z0-9/+=_.~-])"
)
_CHECKED: Final = re.compile(rf"(?:gh[pousr]|npm)_(?=({_B62}{{36}}))")
_CHECKED_RULES: Final = {"g": "github_token", "n": "npm_token"}
# Dotted runs, each tried from its beginning only: "eyJ" may stand in one a thousand times.
_DOTTED: Final = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]++(?:\.[A-Za-z0-9_-]*+)++")
_JWT: Final = re.compile(r"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{6}")
_PLAIN_RUN: Final = re.compile(r"[0-9a-f-]+|[a-z_./-]+|/?(?:[a-z0-9_-]{1,15}[/.])+[a-z0-9_-]{0,15}")


@cache
def _master() -> re.Pattern[str]:
    """All rows as one pattern; compiled when the first long run of characters is seen.

    It has no groups: with them the engine could not skip an alternative by its first character.
    """
    rows = "|".join(row.pattern for row in FORMATS)
    return re.compile(f"{_NOT_BEFORE}(?=[A-Za-z0-9$\\{{_.~-])(?:{rows})")


@cache
def _row(number: int) -> re.Pattern[str]:
    return re.compile(FORMATS[number].pattern)


def _row_at(text: str, start: int, end: int) -> Format:
    """Return the row of a match: the first that matches there, as in the pattern of all rows."""
    return next(row for number, row in enumerate(FORMATS) if _row(number).match(text, start, end))


def find_formats(text: str, hits: list[tuple[int, int, str]]) -> None:
    """Add (start, end, rule) of every token in the text to the hits."""
    for run in _RUN.finditer(text):
        if _PLAIN_RUN.fullmatch(text, run.start(), run.end()) is None:
            _find_in_run(text, run.start(), run.end(), hits)


def _find_in_run(text: str, start: int, end: int, hits: list[tuple[int, int, str]]) -> None:
    found = len(hits)
    for match in _master().finditer(text, start, end):
        row = _row_at(text, match.start(), match.end())
        if row.check is None or row.check(match[0]):
            hits.append((match.start(), match.end(), row.rule))
    # With the right checksum it is a token whatever stands around it.
    hits += [
        (match.start(), match.end(1), _CHECKED_RULES[match[0][0]])
        for match in _CHECKED.finditer(text, start, end)
        if has_checksum(text[match.start() : match.end(1)])
    ]
    if text.find("eyJ", start, end) >= 0:
        for dotted in _DOTTED.finditer(text, start, end):
            token = _JWT.search(text, dotted.start(), dotted.end())
            if token is not None and text.find(".", token.end(), dotted.end()) > 0:
                hits.append((token.start(), dotted.end(), "jwt"))
    if len(hits) > found:
        return
    hits += [
        (match.start(), match.end(), "random_40")
        for match in _FORTY.finditer(text, start, end)
        if looks_random(match[0], 40) and not _base58(match[0])
    ]
    hits += [
        (match.start(), match.end(), "encoded_credentials")
        for match in _BASE64.finditer(text, start, end)
        if basic_credentials(match[0], after_scheme=False)
    ]


def _base58(text: str) -> bool:
    """Content identifiers and wallet addresses are written so, and are public."""
    return not any(c in "0OIl/+" for c in text) and text[0] in "Qbz13"
