import FuzzEntries

#if canImport(Glibc)
    import Glibc
#endif

/// Which entry this process fuzzes: FUZZ_TARGET in the environment.
private let target: FuzzTarget = {
    let name = getenv("FUZZ_TARGET").map { String(cString: $0) } ?? ""
    guard let target = FuzzTarget(rawValue: name) else {
        print("FUZZ_TARGET is \(FuzzTarget.allCases.map(\.rawValue).joined(separator: ", ")); not '\(name)'")
        exit(64)
    }
    return target
}()

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    target.run(Array(UnsafeBufferPointer(start: bytes, count: count)))
    return 0
}
