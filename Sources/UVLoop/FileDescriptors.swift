import Glibc

/// The process's file descriptors. Sockets, the database and model servers all take some.
public enum FileDescriptors {
    /// Raises the limit as far as the system lets this process, and returns the limit then in force.
    public static func raiseLimit() -> Int {
        let files = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        var limit = rlimit()
        guard getrlimit(files, &limit) == 0 else { return 1_024 }
        var raised = limit
        raised.rlim_cur = limit.rlim_max
        if raised.rlim_cur > limit.rlim_cur, setrlimit(files, &raised) == 0 { limit = raised }
        return Int(clamping: limit.rlim_cur)
    }

    /// Whether this errno says that this process or machine has none left for a socket, or no memory for one.
    public static func isExhaustion(_ code: Int32) -> Bool {
        [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(code)
    }
}
