"""A Ray cluster that other machines reach and that asks for no token is warned of: once, and only then."""

import pickle
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from actors import attach, exposure
from faultset_ray.errors import AuthError, ClusterUnreachable, OpenClusterWarning
from jobs import output

FAR = ["10.0.0.7", "127.0.0.1"]


class Control(grpc.GenericRpcHandler):
    """A control service; with a token, it wants to be shown it."""

    def __init__(self, token):
        self.token = token
        self.asked = 0

    def service(self, details):
        assert details.method == "/ray.rpc.NodeInfoGcsService/GetClusterId"

        def answer(_, context):
            self.asked += 1
            if self.token and ("authorization", f"Bearer {self.token}") not in context.invocation_metadata():
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
def control(monkeypatch):
    """Start control services on loopback; returns the service and its address."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_USE_TLS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(exposure, "_warned", set())
    servers = []

    def start(token=None):
        service = Control(token)
        server = grpc.server(ThreadPoolExecutor(1), handlers=(service,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return service, f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(0).wait()


def test_an_open_cluster_is_warned_of_once(control):
    service, address = control()
    with pytest.warns(OpenClusterWarning, match=r"10\.0\.0\.7 can run code on it") as caught:
        exposure.warn_if_open(address, FAR)
    [warning] = [each.message for each in caught]
    assert (warning.code, warning.address, warning.hosts) == ("open_cluster", address, ["10.0.0.7"])
    assert "RAY_AUTH_MODE=token" in str(warning)
    again = pickle.loads(pickle.dumps(warning))
    assert (again.address, again.hosts, str(again)) == (warning.address, warning.hosts, str(warning))
    exposure.warn_if_open(address, FAR)  # a second warning would be an error here
    assert service.asked == 1


@pytest.mark.parametrize("mode", ["", "token"])
def test_what_this_process_shows_says_nothing_of_what_the_cluster_asks_for(control, monkeypatch, mode):
    """A driver with a token is let into an open cluster too."""
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "mine")
    _, address = control()
    attach.probe(address)
    with pytest.warns(OpenClusterWarning):
        exposure.warn_if_open(address, FAR)


def test_one_that_asks_for_a_token_is_not(control, monkeypatch):
    service, address = control("secret")
    exposure.warn_if_open(address, FAR)
    assert service.asked == 1
    with pytest.raises(AuthError, match="RAY_AUTH_MODE is not set here"):
        attach.probe(address)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    attach.probe(address)


@pytest.mark.parametrize("hosts", [[], ["127.0.0.1"], ["127.0.0.9", "localhost", "::1"]])
def test_one_on_loopback_is_not_even_asked(control, hosts):
    service, address = control()
    exposure.warn_if_open(address, hosts)
    assert service.asked == 0


def test_neither_is_one_that_speaks_tls(control, monkeypatch):
    service, address = control()
    monkeypatch.setenv("RAY_USE_TLS", "1")
    exposure.warn_if_open(address, FAR)
    assert service.asked == 0


def test_one_that_does_not_answer_is_not_called_open(control):
    address = "127.0.0.1:1"
    assert not exposure.is_open(address)
    with pytest.raises(ClusterUnreachable):
        attach.probe(address)


def test_the_control_service_alone_may_be_what_others_reach():
    assert exposure.reachable("[fd00::5]:6379", ["127.0.0.1"]) == ["[fd00::5]"]
    assert exposure.reachable("head.example:6379", []) == ["head.example"]


def test_commands_say_it_in_a_line(monkeypatch, capsys):
    def warns():
        warnings.warn(OpenClusterWarning("10.0.0.7:6379", ["10.0.0.7"]), stacklevel=1)
        with pytest.warns(RuntimeWarning, match="of another"):
            warnings.warn("of another", RuntimeWarning, stacklevel=1)

    monkeypatch.setattr(sys, "argv", ["warns"])
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        with pytest.raises(SystemExit):
            output.run(output.app(warns))
    err = capsys.readouterr().err
    assert err.count("10.0.0.7:6379 asks nobody for a token") == 1
    assert "test_exposure" not in err
    assert "UserWarning" not in err
