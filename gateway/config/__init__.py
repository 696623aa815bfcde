"""What an operator can set: a frozen tree, read from a YAML file and the environment. See docs/configuration.md."""

from gateway.config.models import InputConfig, ModelConfig, ModelsConfig, ParameterConfig, PriceConfig
from gateway.config.problems import read_options
from gateway.config.reading import load
from gateway.config.tree import (
    AccessConfig,
    AccountConfig,
    Config,
    KeyConfig,
    LimitsConfig,
    LogConfig,
    PoolConfig,
    QuotaResetConfig,
    RetentionConfig,
    SelectionName,
    ServerConfig,
    StorageConfig,
    TasksConfig,
    TimeoutsConfig,
    UpstreamConfig,
    WebhooksConfig,
)

__all__ = [
    "AccessConfig",
    "AccountConfig",
    "Config",
    "InputConfig",
    "KeyConfig",
    "LimitsConfig",
    "LogConfig",
    "ModelConfig",
    "ModelsConfig",
    "ParameterConfig",
    "PoolConfig",
    "PriceConfig",
    "QuotaResetConfig",
    "RetentionConfig",
    "SelectionName",
    "ServerConfig",
    "StorageConfig",
    "TasksConfig",
    "TimeoutsConfig",
    "UpstreamConfig",
    "WebhooksConfig",
    "load",
    "read_options",
]
