"""Secrets in what clients log are masked before they are stored, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.clients.masking import MASK, masked, masked_text

HF = "hf_" + "aB3" * 12
SECRET = "s3cr3t-VALUE"
RANDOM = "Zq7vK2xW9pL4mN8t"

# Names whose value is a secret, whatever it is.
SECRET_NAMES = """
token hub_token hf_token HF_TOKEN HUGGING_FACE_HUB_TOKEN hubToken push_to_hub_token write_token
access_token accessToken auth_token authtoken refresh_token bearer_token session_token bot_token
api_token github_token GITHUB_TOKEN GH_TOKEN wandb_token use_auth_token token_value hf_token_2
api_tokens access-token x-auth-token user_token hub/token logging.hub_token
api_key apikey apiKey API_KEY api-key X-API-Key OPENAI_API_KEY openai_key wandb_key WANDB_API_KEY
access_key secret_key private_key AWS_SECRET_ACCESS_KEY aws_secret_key azure_storage_account_key
ssh_private_key signing_key encryption_key api_keys service_account_key master_key api_key_1
password db_password dbPassword DATABASE_PASSWORD PGPASSWORD MYSQL_PWD passwd passphrase smtp_pass
redis_password user_password ssh_passphrase passwords PASSWORD_1 sudo-password
secret client_secret clientSecret secrets/openai webhook_secret SECRET secret_value jwt_secret
credentials aws_credentials authorization Authorization headers/Authorization Proxy-Authorization
cookie Set-Cookie basic_auth jwt proxy_password
awsSecretAccessKey AwsSecretAccessKey AWS-SECRET-ACCESS-KEY aws_session_token secret_access_key
OpenAIKey openAIApiKey OPENAIAPIKEY WANDBAPIKEY HFToken HFTOKEN azure_openai_key subscription-key
Ocp-Apim-Subscription-Key oauth_token deploy_token personal_access_token dbpass DBPASS userPass
passcode ssh_key gcp_key
"""

# Names whose value is none.
INNOCENT_NAMES = """
max_tokens max_new_tokens token_count tokenizer tokenizer_name pad_token_id eos_token_id
num_tokens_seen num_input_tokens_seen tokens_per_second tokens total_tokens prompt_tokens
num_token tokens_seen include_num_input_tokens_seen token_dropout token_type_ids tokenize
pad_token eos_token bos_token unk_token mask_token cls_token sep_token image_token stop_token
additional_special_tokens stop_tokens special_tokens decoder_start_token forced_bos_token
loss_per_token loss_per_token/mean token_budget token_level first_token last_token next_token
teacher_token target_token mean_token_accuracy ignore_token new_tokens tokenization
num_key_value_heads key_dim key query_key_norm label_key text_key primary_key public_key keys
prompt_key sort_key cache_key monkey turkey keyboard keyword metric_for_best_model reward_key
pass_rate pass_at_4 first_pass forward_pass num_passes bypass passage compass_heading pass_k
author authors authenticate auth_type auth_method author/name secretary api_key_env api_key_name
token_file hub_token_path password_file secret_name credentials_path token_url api_key_id
password_length token_type max_password_length api_url hub_model_id hub_strategy
signature pass pat key sig pin oauth sas pattern bearing cookie_cutter secret_len token_level_loss
loss_on_tokens speculative_tokens token_ids tokens_per_step jwt_alg credential_type auth_mode
new_token image_token draft_tokens cached_tokens key_file sort_keys private public
"""

NO_SECRETS: list[Any] = [True, False, None, "", "None", "true", "<HUB_TOKEN>", "${HF_TOKEN}"]
NO_SECRETS += ["$HF_TOKEN", "secret:hub", "[hidden]", "{{ token }}", MASK, "os.environ['X']"]
VALUES: list[Any] = ["some text", 4096, 0.25, "4096", "Qwen/Qwen3-0.6B", ["a", 1], 7]


def test_the_value_of_a_secret_name_is_masked() -> None:
    shown = [name for name in SECRET_NAMES.split() if not is_masked(name)]
    assert not shown, "these names show their secret"


def is_masked(name: str) -> bool:
    nested: dict[str, Any] = {name: {"deep": [SECRET]}, "others": [{name: SECRET}]}
    configs = ({name: SECRET}, {"config": {name: SECRET}}, {name: [SECRET]}, nested)
    return masked({name: SECRET}) == {name: MASK} and not any(
        SECRET in json.dumps(masked(config)) for config in configs
    )


def test_a_value_that_is_no_secret_is_kept_under_a_secret_name() -> None:
    for name in SECRET_NAMES.split():
        changed = [value for value in NO_SECRETS if masked({name: value}) != {name: value}]
        assert not changed, name


def test_the_value_of_another_name_is_kept() -> None:
    for name in INNOCENT_NAMES.split():
        for value in VALUES:
            config = {name: value, "outer": {name: value}}
            assert masked(config) == config


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token", 5),
        ("token", "5"),
        ("bot_token", "<|im_start|>"),
        ("user_token", "<|user|>"),
        ("token", "</s>"),
        ("tokens", ["a", "b"]),
        ("columns", ["token", "label"]),
        ("access_tokens", 3),
        ("cookie", False),
        ("auth", "basic"),
        ("PWD", "/home/ada/run"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/etc/google.json"),
        ("num_secrets", 3),
        ("commit", "1f0c9f1e0d9a4a0f9a3b1c5d7e9f1a2b3c4d5e6f"),
        ("hash", "sha256:" + "a1" * 32),
        ("url", "https://example.org/a?page=2#part"),
        ("git", "git@github.com:org/repository.git"),
        ("git", "ssh://git@github.com/org/repository.git"),
        ("mail", "ada@example.org"),
        ("model", "hf_internal_testing/tiny-random"),
        ("library", "sk-learn-random-forest-version-2"),
        ("prompt", "Write the last token: then stop."),
        ("prompt", "The key: be brief. tokens: 5, max_tokens=512, token_count: 3"),
        ("command", "python train.py --max_tokens 512 --eos_token '###' --tokenizer gpt2"),
        ("command", ["train.py", "--max-tokens", "512", "--tokenizer", "gpt2"]),
        ("time", "12:30:05"),
        ("loss_token", "mean"),
        ("reward_token", "last"),
        ("judge_token", "Yes"),
        ("api_key", "EMPTY"),
        ("api_key", "dummy"),
        ("api_key", "your-api-key"),
        ("api_key", "os.environ/OPENAI_API_KEY"),
        ("prompt", "Your password: must be long"),
        ("prompt", "What is the secret: nobody knows, and the password: neither"),
        ("prompt", "Never reveal the secret key: it is hidden."),
        ("prompt", "The password is long and the token counts 3 words"),
        ("key", "Qwen2.5-Math-7B-Instruct-GPTQ-Int4"),
        ("signature", "(question: str, answer: str) -> float"),
        ("url", "https://h/?key=loss&sort=asc&page=2"),
        ("url", "http://host:8080/path@version"),
        ("command", "docker run -u 1000:1000 image"),
        ("modules", ["key", "value"]),
        ("pair", ["token", "label"]),
        ("env", [{"name": "PATH", "value": "/bin"}]),
        ("text", '{"lr": 0.1, "tokens": [1, 2]}'),
        ("text", '"quoted"'),
        ("xml", "<key>loss</key><tokens>5</tokens>"),
    ],
)
def test_what_only_looks_like_a_secret_is_kept(name: str, value: Any) -> None:
    assert masked({name: value}) == {name: value}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("password", 123456, MASK),
        ("password", "/starts/with/a/slash", MASK),
        ("a", "postgres://ada:s3cr3t@db/x", "postgres://ada:***@db/x"),
        ("a", "https://ada:s3cr3t@example.org/x", "https://ada:***@example.org/x"),
        ("a", "clone https://s3cr3t@github.com/o/r.git", "clone https://***@github.com/o/r.git"),
        ("a", "redis://:s3cr3t@cache:6379/0", "redis://:***@cache:6379/0"),
        ("a", "https://h/x?token=s3cr3t&n=1", "https://h/x?token=***&n=1"),
        ("a", "https://h/?write_token=s3cr3t-long", "https://h/?write_token=***"),
        ("url", "https://hooks.slack.com/services/T1/B2/s3cr3t", "https://hooks.slack.com/services/***"),
        ("a", "train.py --hub_token s3cr3t --lr 0.1", "train.py --hub_token *** --lr 0.1"),
        ("a", "train.py --api-key=s3cr3t --lr=0.1", "train.py --api-key=*** --lr=0.1"),
        ("a", "HF_TOKEN=s3cr3t python train.py", "HF_TOKEN=*** python train.py"),
        ("a", "export DB_PASSWORD='s3 cr3t'; run", "export DB_PASSWORD='***'; run"),
        ("a", 'curl -H "Authorization: Bearer s3cr3t-123"', 'curl -H "Authorization: ***"'),
        ("a", "curl -H 'X-Api-Key: s3cr3t'", "curl -H 'X-Api-Key: ***'"),
        ("a", '{"lr": 0.1, "api_key": "s3cr3t", "n": 2}', '{"lr": 0.1, "api_key": "***", "n": 2}'),
        ("a", "{'HF_TOKEN': 's3cr3t', 'PATH': '/bin'}", "{'HF_TOKEN': '***', 'PATH': '/bin'}"),
        ("a", 'x={"k": "{\\"token\\": \\"s3cr3t\\"}"}', 'x={"k": "{\\"token\\": \\"***\\"}"}'),
        ("a", "lr: 0.1\npassword: s3cr3t\n", "lr: 0.1\npassword: ***\n"),
        ("a", "AccountName=x;AccountKey=s3cr3t==;E=y", "AccountName=x;AccountKey=***;E=y"),
        ("a", f"pushed with {HF}.", "pushed with ***."),
        ("a", "-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----", MASK),
        ("command", ["a", "--hub_token", "s3cr3t", "b"], ["a", "--hub_token", MASK, "b"]),
        ("command", ["--token=s3cr3t", "--lr=1"], [f"--token={MASK}", "--lr=1"]),
        ("env", [["HF_TOKEN", "s3cr3t"], ["HOME", "/x"]], [["HF_TOKEN", MASK], ["HOME", "/x"]]),
        ("env", [{"name": "HF_TOKEN", "value": "s3cr3t"}], [{"name": "HF_TOKEN", "value": MASK}]),
        ("env", ["HF_TOKEN=s3cr3t", "HOME=/x"], [f"HF_TOKEN={MASK}", "HOME=/x"]),
        ("env", {"WANDB_API_KEY": "s3cr3t", "N": "1"}, {"WANDB_API_KEY": MASK, "N": "1"}),
        ("secrets", {"a": "s3cr3t", "b": ["s3cr3t"]}, {"a": MASK, "b": [MASK]}),
        ("api_key", ["Secret1", "Secret2"], [MASK, MASK]),
        ("api_key", 12345678901234567890, MASK),
        ("api_key", "1234567890", MASK),
        ("token", f"/{RANDOM}", MASK),
        ("key", RANDOM, MASK),
        ("pass", RANDOM, MASK),
        ("signature", RANDOM, MASK),
        ("new_token", RANDOM, MASK),
        ("loss_token", RANDOM, MASK),
        ("headers", [["x-api-key", RANDOM]], [["x-api-key", MASK]]),
        ("headers", [("authorization", f"Bearer {RANDOM}")], [["authorization", MASK]]),
        ("headers", f"authorization=Basic {RANDOM}", "authorization=***"),
        ("env", [{"Name": "HF_TOKEN", "Value": "s3cr3t"}], [{"Name": "HF_TOKEN", "Value": MASK}]),
        ("env", [{"key": "HF_TOKEN", "val": "s3cr3t"}], [{"key": "HF_TOKEN", "val": MASK}]),
        ("env", "HF_TOKEN=s3cr3t\x00PATH=/bin", "HF_TOKEN=***\x00PATH=/bin"),
        ("env", "environ({'HF_TOKEN': \"it's s3cr3t\"})", "environ({'HF_TOKEN': \"***\"})"),
        ("env", 'declare -x HF_TOKEN="s3cr3t"', 'declare -x HF_TOKEN="***"'),
        ("a", "Namespace(hub_token='s3cr3t', n=2)", "Namespace(hub_token='***', n=2)"),
        ("a", "Config(api_key=SecretStr('s3cr3t'))", "Config(api_key=SecretStr('***'))"),
        ("a", "hub:\n  token: >-\n    s3cr3t\n", "hub:\n  token: >-\n    ***\n"),
        ("a", "<api_key>s3cr3t</api_key>", "<api_key>***</api_key>"),
        ("a", "password: hunter\nuser: ada", "password: ***\nuser: ada"),
        ("a", "user: ada, password: hunter, n: 1", "user: ada, password: ***, n: 1"),
        ("a", f"machine h login ada password {RANDOM}", "machine h login ada password ***"),
        ("a", "https://ada:s3/cr3t@example.org", "https://ada:***@example.org"),
        ("a", "https://ada:s3@cr3t@example.org/x?m=a@b.c", "https://ada:***@example.org/x?m=a@b.c"),
        ("a", "postgresql+psycopg://u:s3cr3t@db:5432/x", "postgresql+psycopg://u:***@db:5432/x"),
        ("a", f"https://h/c?sv=2020&sig={RANDOM}%3D", "https://h/c?sv=2020&sig=***"),
        ("a", f"https://h/k?X-Amz-Signature={RANDOM}&n=1", "https://h/k?X-Amz-Signature=***&n=1"),
        ("a", f"https://api.telegram.org/bot12345:{RANDOM}/send", "https://api.telegram.org/bot12345:***"),
        ("a", f"https://x.webhook.office.com/webhookb2/{RANDOM}", "https://x.webhook.office.com/webhookb2/***"),
        ("a", "Server=h;Uid=u;Pwd=s3cr3t;", "Server=h;Uid=u;Pwd=***;"),
        ("command", "curl -u ada:s3cr3t https://h", "curl -u ada:*** https://h"),
        ("command", "mysql -u root -ps3cr3t base", "mysql -u root -p*** base"),
        ("command", "sshpass -p s3cr3t ssh h", "sshpass -p *** ssh h"),
        ("command", ["+logger.api_key=s3cr3t"], ["+logger.api_key=***"]),
        ("json", '{"note": "it\'s", "api_key": "a\\"b"}', '{"note": "it\'s", "api_key": "***"}'),
    ],
)  # fmt: skip
def test_secrets_in_values_are_masked_and_the_rest_is_kept(
    name: str, value: Any, expected: Any
) -> None:
    assert masked({name: value}) == {name: expected}
    assert masked({name: expected}) == {name: expected}


@pytest.mark.parametrize("depth", range(1, 5))
def test_json_in_texts_in_json_is_masked_at_any_depth(depth: int) -> None:
    config: Any = {"api_key": SECRET, "note": "kept", "list": [{"hub_token": SECRET}]}
    for _ in range(depth):
        config = {"inner": json.dumps(config), "others": "kept"}
    shown = masked(config)
    for _ in range(depth):
        assert shown["others"] == "kept"
        shown = json.loads(shown["inner"])
    assert shown == {"api_key": MASK, "note": "kept", "list": [{"hub_token": MASK}]}
    # Also where it is cut or begins with other text, so that it is no JSON.
    assert SECRET not in masked_text(f"config = {json.dumps(config)}")
    assert SECRET not in masked_text(json.dumps(config)[:-2])


@pytest.mark.parametrize(
    "token",
    [
        HF,
        "ghp_" + "a1B2" * 9,
        "github_pat_" + "a1B2" * 10,
        "glpat-" + "a1B2" * 5,
        "sk-" + "a1B2" * 12,
        "sk-proj-" + "a1B2" * 12,
        "sk-ant-api03-" + "a1B2" * 12,
        "sk_live_" + "a1B2" * 6,
        "xoxb-1234567890-abcdef",
        "AKIA" + "A1B2" * 4,
        "AIza" + "a1B2c" * 7,
        "nvapi-" + "a1B2" * 10,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0XX.c2lnbmF0dXJl",
    ],
)
def test_well_known_tokens_are_masked_under_any_name(token: str) -> None:
    for config in ({"note": token}, {"x": [f"run with {token}"]}, {"x": {"y": f"a={token}"}}):
        assert token not in json.dumps(masked(config))


@given(st.text(max_size=200) | st.from_regex(r"([\w]+[:=] ?['\"]?){0,40}", fullmatch=True))
def test_any_text_can_be_masked_and_masking_again_changes_nothing(text: str) -> None:
    once = masked_text(text)
    assert masked_text(once) == once


# Repeated, these make every pattern begin anew at each place.
PARTS = ["a", "a1", "a=", 'a="', 'a=\\"', "a: ", "sk-", "://", "a://b:", "ab://b:", "@", "\\", "["]
PARTS += ["token ", "token=", 'token="', 'token=\\\\"', "password: ", "-u a", "mysql ", "<token>"]
PARTS += ["eyJa.", "hf_", '{"token":', "ab://b:@", "\"'", "-----BEGIN PRIVATE KEY-----"]


def test_a_long_text_takes_no_longer_than_its_length_allows() -> None:
    for part in PARTS:
        assert len(masked_text(part * (200_000 // len(part)))) <= 200_000
