"""gRPC servers."""

from __future__ import annotations

from graymw.middleware.grpc.interceptors import AioInterceptor, BlockingInterceptor

__all__ = ["AioInterceptor", "BlockingInterceptor"]
