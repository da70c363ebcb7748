# SPDX-License-Identifier: Apache-2.0
"""What `kubectl debug` needs of a cluster, on one machine: a pod with one container, whose program runs in namespaces of its own.

Real are kubectl, what it asks the API server for, the processes and their namespaces: the debug container sees the program's
processes and not its files, and has the rights that its securityContext gives. The API server is not: it answers for the one pod,
checks nothing that kubectl does not, and no image is fetched: what runs is the command of the container's spec, from PATH."""

import contextlib
import http.server
import json
import os
import shutil
import subprocess
import threading
import urllib.parse

import cores
import findings
import oracles

POD, CONTAINER = "shop-6d5f7c-x2x9b", "shop"
PATH = f"/api/v1/namespaces/default/pods/{POD}"
RESOURCES = [{"name": name, "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": ["get", "list", "patch", "watch"]}
             for name in ("pods", "pods/ephemeralcontainers", "pods/log")]
# What runtimes give to a container that asks for nothing.
RIGHTS = ["audit_write", "chown", "dac_override", "fowner", "fsetid", "kill", "mknod", "net_bind_service", "net_raw", "setfcap", "setgid",
          "setpcap", "setuid", "sys_chroot"]
ANSWERS = {
    "/version": {"major": "1", "minor": "32", "gitVersion": "v1.32.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": RESOURCES},
}


def kubectl():
    """The command, one that knows the profiles of `debug` (1.30 has them all; Debian 12's is 1.20)."""
    path = shutil.which("kubectl")
    if not path:
        raise cores.Unavailable("no kubectl (Debian 12's is too old)")
    if "sysadmin" not in oracles.run([path, "debug", "--help"]).stdout:
        raise cores.Unavailable("this kubectl has no `debug --profile=sysadmin`")
    return path


class Pod:
    """The state of the pod; `pid` is the program's, seen from here, `hidden` the folder that its image alone has."""

    def __init__(self, pid, hidden, environment):
        self.pid, self.hidden, self.environment = pid, hidden, environment
        self.containers, self.log, self.code = [], b"", None
        self.ended = threading.Event()

    def document(self):
        state = {"terminated": {"exitCode": self.code}} if self.ended.is_set() else {"waiting": {"reason": "PodInitializing"}}
        return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": POD, "namespace": "default", "uid": "1", "resourceVersion": "1"},
                "spec": {"containers": [{"name": CONTAINER, "image": "shop"}], "ephemeralContainers": self.containers},
                "status": {"phase": "Running", "containerStatuses": [{"name": CONTAINER, "state": {"running": {}}}],
                           "ephemeralContainerStatuses": [{"name": row["name"], "state": state} for row in self.containers]}}

    def add(self, containers):
        self.containers = containers
        threading.Thread(target=self.run, args=(containers[-1],)).start()

    def run(self, container):
        """As a container runtime does: into the target's processes, with files of its own, and without its rights unless
        privileged."""
        command = ["unshare", "--mount", "--mount-proc", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', self.hidden]
        if container.get("targetContainerName") == CONTAINER:
            command = ["nsenter", f"--target={self.pid}", "--pid", *command]
        else:
            command[1:1] = ["--pid", "--fork"]
        rights = container.get("securityContext", {})
        if not rights.get("privileged"):
            kept = [*RIGHTS, *(name.lower() for name in rights.get("capabilities", {}).get("add", []))]
            command += ["setpriv", "--inh-caps=-all", "--bounding-set=-all," + ",".join(f"+{name}" for name in kept)]
        command += [*container.get("command", []), *container.get("args", [])]
        done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env=self.environment)
        self.log, self.code = done.stdout, done.returncode
        self.ended.set()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body, kind="application/json", code=200):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        pod, url = self.server.pod, urllib.parse.urlparse(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if url.path == f"{PATH}/log":
            pod.ended.wait(60)
            return self.answer(pod.log, "text/plain")
        if url.path == os.path.dirname(PATH) and query.get("watch"):
            pod.ended.wait(60)
            document = {"type": "MODIFIED", "object": pod.document()}
        elif url.path == os.path.dirname(PATH):
            document = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": [pod.document()]}
        elif url.path == PATH:
            document = pod.document()
        elif not (document := ANSWERS.get(url.path)):
            document = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
                        "message": f"nothing is at {url.path}"}
        self.answer(json.dumps(document).encode() + b"\n", code=document.get("code", 200))

    def do_PATCH(self):
        wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path.split("?")[0] == f"{PATH}/ephemeralcontainers", self.path
        self.server.pod.add(wanted["spec"]["ephemeralContainers"])
        self.answer(json.dumps(self.server.pod.document()).encode())

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def cluster(folder, built):
    """The program in a pod: its process, and the environment in which kubectl finds the cluster."""
    kubectl()
    isolated = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if subprocess.run([*isolated, "true"], capture_output=True).returncode:
        raise cores.Unavailable("no namespaces may be made here")
    command = [*isolated, built.executable]
    path = f"{oracles.stackgroup_path().parent}:{os.environ['PATH']}"
    with contextlib.ExitStack() as stack:
        child = stack.enter_context(findings.ready(command, env=cores.child_environment(folder / "pod.truth.json", "wait"), cwd=built.folder))
        pid = findings.child_of(child.pid)
        cores.wait_until_main_sleeps(pid)
        server = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        server.pod = Pod(pid, built.folder, oracles.environment(PATH=path))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        config = folder / "kubeconfig"
        config.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "here", "users": [],
            "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": ""}}]}))
        yield server.pod, {"KUBECONFIG": str(config), "HOME": str(folder)}
