import CSodium
import Cryptography
import Primitives
import Wire

/// The cost of our functions compared with the bare library calls that they wrap.
struct CryptoBenchmark {
    let seconds: Double
    let sessionsOnly: Bool

    func run() throws {
        guard sodium_init() >= 0 else { throw BenchmarkError("libsodium can't be initialised") }
        var report = BenchmarkReport()
        report.add("sodium", json: quoted(String(cString: sodium_version_string())))
        if !sessionsOnly {
            signatures(&report)
            sealing(&report)
            agreement(&report)
            try OfferBenchmark(seconds: seconds * 4).run(&report)
        }
        try SessionBenchmark(seconds: seconds).run(&report)
        say(report.json)
    }

    private func add(_ name: String, _ pair: Pair, _ report: inout BenchmarkReport) {
        report.add("\(name)_us", pair.ourTime / 1_000)
        report.add("\(name)_bare_us", pair.bareTime / 1_000)
        report.add("\(name)_ratio", pair.ratio)
    }

    private func signatures(_ report: inout BenchmarkReport) {
        let identity = Identity(seed: Bytes32(1, 2, 3, 4))
        let message = [UInt8](repeating: 7, count: 400)
        let signature = identity.sign(message)
        let key = identity.publicKey
        let (keyBytes, signatureBytes) = (key.value.bytes, signature.bytes)
        var (publicBytes, secret) = ([UInt8](repeating: 0, count: 32), [UInt8](repeating: 0, count: 64))
        crypto_sign_seed_keypair(&publicBytes, &secret, Bytes32(1, 2, 3, 4).bytes)
        var out = [UInt8](repeating: 0, count: 64)
        let verify = Pair.measure(
            seconds: seconds, ours: { blackHole(key.verifies(signature, of: message)) },
            bare: { blackHole(crypto_sign_verify_detached(signatureBytes, message, 400, keyBytes)) })
        add("verify", verify, &report)
        let sign = Pair.measure(
            seconds: seconds, ours: { blackHole(identity.sign(message)) },
            bare: { blackHole(crypto_sign_detached(&out, nil, message, 400, secret)) })
        add("sign", sign, &report)
    }

    private func sealing(_ report: inout BenchmarkReport) {
        let key = Secret32(Bytes32(1, 2, 3, 4))
        let keyBytes = Bytes32(1, 2, 3, 4).bytes
        let nonce = [UInt8](repeating: 0, count: 12)
        let count = 1_000
        var buffer = [UInt8](repeating: 7, count: count + Aead.tagSize)
        let seal = buffer.withUnsafeMutableBytes { bytes in
            Pair.measure(
                seconds: seconds, ours: { Aead.seal(bytes, count: count, key: key, counter: 0) },
                bare: {
                    guard let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
                    crypto_aead_chacha20poly1305_ietf_encrypt(
                        base, nil, base, UInt64(count), nil, 0, nil, nonce, keyBytes)
                })
        }
        add("seal_1000B", seal, &report)
        // Opening works in place and destroys its input, so each call opens a copy.
        var sealed = [UInt8](repeating: 7, count: count + Aead.tagSize)
        sealed.withUnsafeMutableBytes { Aead.seal($0, count: count, key: key, counter: 0) }
        let open = buffer.withUnsafeMutableBytes { bytes in
            Pair.measure(
                seconds: seconds,
                ours: {
                    sealed.withUnsafeBytes { bytes.copyMemory(from: $0) }
                    blackHole(Aead.open(bytes, key: key, counter: 0))
                },
                bare: {
                    sealed.withUnsafeBytes { bytes.copyMemory(from: $0) }
                    guard let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
                    blackHole(
                        crypto_aead_chacha20poly1305_ietf_decrypt(
                            base, nil, nil, base, UInt64(bytes.count), nil, 0, nonce, keyBytes))
                })
        }
        add("open_1000B", open, &report)
    }

    private func agreement(_ report: inout BenchmarkReport) {
        let secret = Secret32(Bytes32(1, 2, 3, 4))
        let secretBytes = Bytes32(1, 2, 3, 4).bytes
        let theirs = Agreement.publicKey(of: Secret32(Bytes32(5, 6, 7, 8)))
        let theirBytes = theirs.bytes
        var out = [UInt8](repeating: 0, count: 32)
        let x25519 = Pair.measure(
            seconds: seconds, ours: { blackHole(Agreement.shared(secret, theirs)) },
            bare: { blackHole(crypto_scalarmult(&out, secretBytes, theirBytes)) })
        add("x25519", x25519, &report)
        let key = Identity(seed: Bytes32(1, 2, 3, 4)).publicKey
        report.add(
            "key_conversion_us",
            Stopwatch.each(500) { for _ in 0..<500 { blackHole(key.agreementKey) } } / 1_000)
    }
}

struct BenchmarkError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
