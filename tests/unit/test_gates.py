"""Gates: how their checks are run."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pulumi

from mailcrypt_component.component.gates import gate
from mailcrypt_component.testing import use_mocks


def test_a_check_does_not_need_the_threads_that_wait_for_it(monkeypatch):
    """Pulumi's SDK waits for each resource in asyncio's threads, and a resource for its gate."""
    use_mocks()
    made = []
    real = pulumi.ResourceHook

    def hook_of(name, callback, *rest):
        made.append(callback)
        return real(name, callback, *rest)

    monkeypatch.setattr(pulumi, "ResourceHook", hook_of)
    checked, gone_on = threading.Event(), threading.Event()

    @pulumi.runtime.test
    def program():
        def check(value, run):
            checked.set()
            return f"{value} held"

        needs = pulumi.Output.from_input("it")
        return gate("mail-gate", {}, check, needs, pulumi.ResourceOptions()).input

    program()
    [callback] = made

    async def while_every_thread_waits():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        waiting = loop.run_in_executor(None, gone_on.wait)
        try:
            await asyncio.wait_for(callback(_Args()), 10)
        finally:
            gone_on.set()
            await waiting

    asyncio.run(while_every_thread_waits())
    assert checked.is_set()


class _Args:
    old_inputs = None
