// The system's SQLite: a connection, statements with bound values, rows of typed columns, transactions.
//
// SQL is a `StaticString`, so that no value can be written into it. A value of another type than the one asked for is
// nil, never converted: a damaged or foreign file must not stop the program.

import CSQLite
import Glibc

/// What SQLite refused: its code and message, and why the system refused where that was the cause.
struct DatabaseError: Error, CustomStringConvertible {
    /// The extended result code, such as `SQLITE_IOERR_WRITE`.
    let extendedCode: Int32
    let message: String
    /// The errno of the system call that failed; 0 if none did.
    let systemCode: Int32

    /// The primary result code, such as `SQLITE_FULL`.
    var code: Int32 { extendedCode & 0xff }
    /// The system's words for `systemCode`.
    var cause: String? { systemCode == 0 ? nil : String(cString: strerror(systemCode)) }

    var description: String { "\(message) (SQLite \(extendedCode)\(cause.map { ": \($0)" } ?? ""))" }

    init(code: Int32, message: String, systemCode: Int32 = 0) {
        (extendedCode, self.message, self.systemCode) = (code, message, systemCode)
    }

    /// - Parameter handle: the connection whose last call failed with `code`.
    fileprivate init(_ code: Int32, _ handle: OpaquePointer?) {
        let message = handle.flatMap(sqlite3_errmsg) ?? sqlite3_errstr(code)
        let isSystems = [SQLITE_IOERR, SQLITE_CANTOPEN, SQLITE_FULL].contains(code & 0xff)
        self.init(
            code: code, message: message.map { String(cString: $0) } ?? "no message",
            systemCode: isSystems ? handle.map(sqlite3_system_errno) ?? 0 : 0)
    }
}

/// A value that is bound to a statement's parameter.
enum DatabaseValue {
    case integer(Int64)
    case text(String)
    case blob([UInt8])
}

/// One connection to a file, for one task at a time. Closed when it is gone.
final class Database {
    private let handle: OpaquePointer
    /// How long a statement waits for another process that holds the file.
    private static let busyMilliseconds: Int32 = 5_000

    /// Opens or creates the file at `path` (`:memory:` for none) for writing.
    init(path: String) throws {
        var opened: OpaquePointer?
        let code = sqlite3_open_v2(
            path, &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nil)
        guard code == SQLITE_OK, let opened else {
            defer { sqlite3_close_v2(opened) }
            throw DatabaseError(opened.map(sqlite3_extended_errcode) ?? code, opened)
        }
        handle = opened
        sqlite3_extended_result_codes(handle, 1)
        sqlite3_busy_timeout(handle, Self.busyMilliseconds)
        // A file that can't be written is opened all the same.
        guard sqlite3_db_readonly(handle, "main") == 0 else {
            throw DatabaseError(code: SQLITE_READONLY, message: "attempt to write a readonly database")
        }
        try execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -256")
    }

    deinit { sqlite3_close_v2(handle) }

    /// Runs one or more statements without values.
    func execute(_ sql: StaticString) throws {
        let code = sqlite3_exec(handle, "\(sql)", nil, nil, nil)
        guard code == SQLITE_OK else { throw DatabaseError(code, handle) }
    }

    /// Makes one statement, for several runs.
    func prepare(_ sql: StaticString) throws -> Statement {
        var made: OpaquePointer?
        let code = sqlite3_prepare_v2(handle, "\(sql)", -1, &made, nil)
        guard code == SQLITE_OK, let made else { throw DatabaseError(code, handle) }
        return Statement(made, handle)
    }

    /// Runs one statement that returns no rows, or whose rows don't matter.
    func run(_ sql: StaticString, _ values: [DatabaseValue] = []) throws {
        try prepare(sql).run(values)
    }

    /// What `read` makes of each row; rows of which it makes nil are left out.
    func rows<Value>(
        _ sql: StaticString, _ values: [DatabaseValue] = [], _ read: (borrowing Row) throws -> Value?
    ) throws -> [Value] {
        var found: [Value] = []
        try prepare(sql).run(values) { row in
            if let value = try read(row) { found.append(value) }
        }
        return found
    }

    /// Copies all pages into another connection's database, in one step: writers wait meanwhile, or it waits for them.
    func copy(into target: OpaquePointer?) throws {
        guard let backup = sqlite3_backup_init(target, "main", handle, "main") else {
            throw DatabaseError(target.map(sqlite3_extended_errcode) ?? SQLITE_ERROR, target)
        }
        var code = sqlite3_backup_step(backup, -1)
        var waited: Int32 = 0
        while code == SQLITE_BUSY || code == SQLITE_LOCKED, waited < Self.busyMilliseconds {
            waited += sqlite3_sleep(20)
            code = sqlite3_backup_step(backup, -1)
        }
        let end = sqlite3_backup_finish(backup)
        guard code == SQLITE_DONE else { throw DatabaseError(end == SQLITE_OK ? code : end, target) }
    }

    /// All changes of `changes`, or none of them when it or the end of the transaction throws.
    func transaction<Value>(_ changes: () throws -> Value) throws -> Value {
        try execute("BEGIN IMMEDIATE")
        do {
            let value = try changes()
            try execute("COMMIT")
            return value
        } catch {
            // A full disk, among others, has ended the transaction already.
            if sqlite3_get_autocommit(handle) == 0 { try? execute("ROLLBACK") }
            throw error
        }
    }
}

/// One statement, compiled. Finalised when it is gone.
struct Statement: ~Copyable {
    private let handle: OpaquePointer
    private let connection: OpaquePointer

    fileprivate init(_ handle: OpaquePointer, _ connection: OpaquePointer) {
        (self.handle, self.connection) = (handle, connection)
    }

    deinit { sqlite3_finalize(handle) }

    /// Runs it with a value for each parameter, and hands each row to `read`.
    func run(_ values: [DatabaseValue] = [], _ read: (borrowing Row) throws -> Void = { _ in }) throws {
        defer {
            sqlite3_reset(handle)
            sqlite3_clear_bindings(handle)
        }
        let parameters = sqlite3_bind_parameter_count(handle)
        guard values.count == Int(parameters) else {
            throw DatabaseError(
                code: SQLITE_RANGE, message: "\(values.count) values for \(parameters) parameters")
        }
        for (index, value) in zip(Int32(1)..., values) { try check(bind(value, index)) }
        while true {
            let code = sqlite3_step(handle)
            if code == SQLITE_DONE { return }
            guard code == SQLITE_ROW else { throw DatabaseError(code, connection) }
            try read(Row(handle))
        }
    }

    private func bind(_ value: DatabaseValue, _ index: Int32) -> Int32 {
        switch value {
        case .integer(let number): sqlite3_bind_int64(handle, index, number)
        case .text(let text):
            text.withCString { bind_text(handle, index, $0, sqlite3_uint64(text.utf8.count)) }
        case .blob(let bytes): bind_blob(handle, index, bytes, sqlite3_uint64(bytes.count))
        }
    }

    private func check(_ code: Int32) throws {
        guard code == SQLITE_OK else { throw DatabaseError(code, connection) }
    }
}

/// The row at which a statement stands. A column of another type, or one that there isn't, is nil.
struct Row: ~Copyable {
    private let statement: OpaquePointer

    fileprivate init(_ statement: OpaquePointer) { self.statement = statement }

    func integer(_ column: Int32) -> Int64? {
        guard sqlite3_column_type(statement, column) == SQLITE_INTEGER else { return nil }
        return sqlite3_column_int64(statement, column)
    }

    func text(_ column: Int32) -> String? {
        guard sqlite3_column_type(statement, column) == SQLITE_TEXT else { return nil }
        return bytes(sqlite3_column_text(statement, column), column).map {
            String(decoding: $0, as: UTF8.self)
        }
    }

    func blob(_ column: Int32) -> [UInt8]? {
        guard sqlite3_column_type(statement, column) == SQLITE_BLOB else { return nil }
        // SQLite has no address for an empty one.
        return bytes(sqlite3_column_blob(statement, column), column).map(Array.init) ?? []
    }

    private func bytes(_ start: UnsafeRawPointer?, _ column: Int32) -> UnsafeRawBufferPointer? {
        start.map { UnsafeRawBufferPointer(start: $0, count: Int(sqlite3_column_bytes(statement, column))) }
    }
}
