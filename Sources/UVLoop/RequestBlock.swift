// A libuv request and the bytes it sends, in one allocation: made when submitted, freed in the request's
// callback.

import CLibuv

struct RequestBlock<Request> {
    let request: UnsafeMutablePointer<Request>
    private var count = 0

    /// For the callback, which receives the request as a pointer.
    init(_ request: UnsafeMutablePointer<Request>) { self.request = request }

    init(copying bytes: some Collection<UInt8>) {
        count = bytes.count
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: MemoryLayout<Request>.stride + count, alignment: 16)
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: MemoryLayout<Request>.stride)
        request = memory.assumingMemoryBound(to: Request.self)
        UnsafeMutableRawBufferPointer(start: memory + MemoryLayout<Request>.stride, count: count)
            .copyBytes(from: bytes)
    }

    /// The bytes that were copied in.
    var buffer: uv_buf_t {
        let start = UnsafeMutableRawPointer(request) + MemoryLayout<Request>.stride
        return uv_buf_t(base: start.assumingMemoryBound(to: CChar.self), len: count)
    }

    func free() { UnsafeMutableRawPointer(request).deallocate() }
}
