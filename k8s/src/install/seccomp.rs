//! What brings the seccomp profile that allows io_uring to the nodes: a namespace of its own with a DaemonSet.
//!
//! RuntimeDefault forbids io_uring with containerd 2, and a `Localhost` profile is a file of the node, so something has to write
//! it there. That takes a host path, which Pod Security allows at the level `privileged` only: hence the namespace, which
//! holds nothing else. The pods have no capability, no token and no network use; they write one file and rest.

use serde_json::{Value, json};

use super::{Values, image};

/// The namespace of the DaemonSet.
pub const NAMESPACE: &str = "dromon-seccomp";
/// The DaemonSet, and the label `app` of its pods.
pub const NAME: &str = "dromon-seccomp";
/// Where kubelets keep their files unless they are told otherwise (`--root-dir`).
pub const KUBELET_DIR: &str = "/var/lib/kubelet";
/// Where the pods see the kubelet's folder of profiles.
const MOUNTED: &str = "/host/seccomp";

/// The objects in the order of application. The profile is put where the sidecars' `seccompProfile` looks for it.
pub fn objects(values: &Values, kubelet_dir: &str) -> Vec<Value> {
    // Not the installation's label: what `install` brings does not have this, and it takes away what it does not have.
    let labels = json!({"app.kubernetes.io/part-of": "dromon"});
    let mut namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": labels},
    });
    namespace["metadata"]["labels"]["dromon.io/inject"] = json!("disabled");
    namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = json!("privileged");
    let daemon_set = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "selector": {"matchLabels": {"app": NAME}},
            "updateStrategy": {"rollingUpdate": {"maxUnavailable": "100%"}},
            "template": {
                "metadata": {"labels": {"app": NAME}},
                "spec": pod(values, kubelet_dir),
            },
        },
    });
    vec![namespace, daemon_set]
}

/// The same DaemonSet, taking the profile away again.
pub fn removing(daemon_set: &Value) -> Value {
    let mut inits = daemon_set["spec"]["template"]["spec"]["initContainers"].clone();
    inits[0]["args"] = arguments("remove", inits[0]["args"][2].as_str().unwrap_or_default());
    json!({"spec": {"template": {"spec": {"initContainers": inits}}}})
}

fn arguments(what: &str, path: &str) -> Value {
    json!(["seccomp-profile", what, path])
}

fn pod(values: &Values, kubelet_dir: &str) -> Value {
    let path = format!("{MOUNTED}/{}", values.text("seccompProfile"));
    // Only its owner writes the kubelet's folder.
    let rights = json!({
        "runAsUser": 0, "runAsGroup": 0,
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    let container = |name: &str, arguments: Value, mounts: Value| {
        json!({
            "name": name,
            "image": image(values, "dromon-controller"),
            "imagePullPolicy": values.get("image.pullPolicy"),
            "command": ["/usr/local/bin/dromonctl"],
            "args": arguments,
            "resources": {"requests": {"cpu": "1m", "memory": "8Mi"}, "limits": {"memory": "64Mi"}},
            "securityContext": rights,
            "volumeMounts": mounts,
        })
    };
    json!({
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": 5,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"operator": "Exists"}],
        "initContainers": [container("profile", arguments("put", &path), json!([{"name": "seccomp", "mountPath": MOUNTED}]))],
        // A DaemonSet's pods do not end: this one says by being ready that the file is there.
        "containers": [container("rest", json!(["seccomp-profile", "rest"]), json!([]))],
        "volumes": [{"name": "seccomp", "hostPath": {"path": format!("{kubelet_dir}/seccomp"), "type": "DirectoryOrCreate"}}],
    })
}

/// System calls of a network server and of the runtime that starts it, io_uring's among them. What is absent is refused (EPERM):
/// mounting, tracing, namespaces, keys, modules, BPF, other processes' memory.
const ALLOWED: &[&str] = &[
    // Memory.
    "brk",
    "madvise",
    "membarrier",
    "mincore",
    "mlock",
    "mlock2",
    "mlockall",
    "mmap",
    "mprotect",
    "mremap",
    "msync",
    "munlock",
    "munlockall",
    "munmap",
    "memfd_create",
    "rseq",
    // Files.
    "access",
    "chdir",
    "chmod",
    "chown",
    "close",
    "close_range",
    "copy_file_range",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fallocate",
    "fchdir",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchownat",
    "fcntl",
    "fdatasync",
    "flock",
    "fstat",
    "fstatfs",
    "fsync",
    "ftruncate",
    "getcwd",
    "getdents",
    "getdents64",
    "ioctl",
    "link",
    "linkat",
    "lseek",
    "lstat",
    "mkdir",
    "mkdirat",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pipe",
    "pipe2",
    "pread64",
    "preadv",
    "preadv2",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readahead",
    "readlink",
    "readlinkat",
    "readv",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "splice",
    "stat",
    "statfs",
    "statx",
    "symlink",
    "symlinkat",
    "sync_file_range",
    "tee",
    "truncate",
    "umask",
    "unlink",
    "unlinkat",
    "utimensat",
    "vmsplice",
    "write",
    "writev",
    "inotify_add_watch",
    "inotify_init1",
    "inotify_rm_watch",
    // Sockets and waiting.
    "accept",
    "accept4",
    "bind",
    "connect",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "eventfd",
    "eventfd2",
    "getpeername",
    "getsockname",
    "getsockopt",
    "listen",
    "poll",
    "ppoll",
    "pselect6",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "select",
    "sendfile",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shutdown",
    "socketpair",
    "signalfd4",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_settime",
    // What RuntimeDefault lacks.
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    // Time.
    "alarm",
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "getitimer",
    "gettimeofday",
    "nanosleep",
    "setitimer",
    "time",
    "timer_create",
    "timer_delete",
    "timer_getoverrun",
    "timer_gettime",
    "timer_settime",
    "times",
    // The process itself.
    "arch_prctl",
    "capget",
    "capset",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "futex",
    "futex_waitv",
    "futex_wait",
    "futex_wake",
    "futex_requeue",
    "getcpu",
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getrandom",
    "getresgid",
    "getresuid",
    "getrlimit",
    "get_robust_list",
    "getrusage",
    "getsid",
    "gettid",
    "getuid",
    "kill",
    "pause",
    "pidfd_open",
    "pidfd_send_signal",
    "prctl",
    "prlimit64",
    "restart_syscall",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigqueueinfo",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_tgsigqueueinfo",
    "sched_getaffinity",
    "sched_getattr",
    "sched_getparam",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_setaffinity",
    "sched_yield",
    "setfsgid",
    "setfsuid",
    "setgid",
    "setgroups",
    "setpgid",
    "setregid",
    "setresgid",
    "setresuid",
    "setreuid",
    "setrlimit",
    "set_robust_list",
    "setsid",
    "set_tid_address",
    "setuid",
    "sigaltstack",
    "sysinfo",
    "tgkill",
    "tkill",
    "uname",
    "vfork",
    "fork",
    "wait4",
    "waitid",
];

/// Flags of `clone` that make namespaces.
const CLONE_NAMESPACES: u64 = 0x7e02_0000;
/// "No such system call": whoever tries `clone3`, whose flags a filter cannot read, falls back to `clone`.
const ENOSYS: u32 = 38;
/// Socket family of virtual machines' hosts: a pod's network does not bound it.
const AF_VSOCK: u64 = 40;

/// The profile, as container runtimes read it.
pub fn profile() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": []},
        ],
        "syscalls": [
            {"names": ALLOWED, "action": "SCMP_ACT_ALLOW"},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 0, "value": CLONE_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"},
            ]},
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS},
            {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 0, "value": AF_VSOCK, "op": "SCMP_CMP_NE"},
            ]},
        ],
    })
}
