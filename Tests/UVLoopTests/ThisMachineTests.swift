import Glibc
import Primitives
import Testing

@testable import UVLoop

@Suite struct ThisMachineTests {
    @Test func aListenerAndAPortWithoutOneAreToldApartAndDatagramsToo() async throws {
        try await withLoop { owner in
            try await owner.run { owner in
                let listener = try TCPListener(on: owner.loop, bind: anyPort) { $0.abort() }
                let endpoint = listener.endpoint
                #expect(
                    ThisMachine.look(at: endpoint, asking: [[1], [2]])
                        == .init(connection: .accepted, refusesDatagrams: true))
                let udp = try UDPSocket(on: owner.loop, bind: endpoint)
                #expect(
                    ThisMachine.look(at: endpoint, asking: [[1], [2]], for: 50)
                        == .init(connection: .accepted, refusesDatagrams: false))
                let taken = #expect(throws: SocketError.self) {
                    try ThisMachine.checkListening(at: endpoint)
                }
                #expect(taken?.code == EADDRINUSE)
                udp.close()
                listener.close()
            }
        }
        let free = Endpoint.loopback(1)
        #expect(
            ThisMachine.look(at: free, asking: [[1], [2]])
                == .init(connection: .refused, refusesDatagrams: true))
    }

    @Test func anAddressOfAnotherMachineIsNoneOfOurs() throws {
        let other = try #require(Endpoint("203.0.113.9:7827"))
        let error = #expect(throws: SocketError.self) { try ThisMachine.checkListening(at: other) }
        #expect(error?.code == EADDRNOTAVAIL)
        #expect(error?.description.hasPrefix("this machine has no address 203.0.113.9") == true)
        #expect(!ThisMachine.addresses().contains { $0.isLoopback || $0.port != 0 })
        try ThisMachine.checkListening(at: .loopback(0))
    }
}
