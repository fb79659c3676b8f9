import com.nexmdm.agent.engine.Agent;
import com.nexmdm.agent.engine.AgentSettings;
import com.nexmdm.agent.engine.Clock;
import com.nexmdm.agent.engine.DevicePort;
import com.nexmdm.agent.engine.PackagePort;
import com.nexmdm.agent.engine.Ports;
import com.nexmdm.agent.engine.SessionPort;
import com.nexmdm.agent.engine.SessionSink;
import com.nexmdm.agent.engine.SessionState;
import com.nexmdm.agent.model.DeviceIdentity;
import com.nexmdm.agent.model.DeviceSnapshot;
import com.nexmdm.agent.model.InstallRight;
import com.nexmdm.agent.model.InstalledPackage;
import com.nexmdm.agent.model.Network;
import com.nexmdm.agent.model.RestartIntent;
import com.nexmdm.agent.net.HttpTransport;
import com.nexmdm.agent.net.UrlConnectionTransport;
import com.nexmdm.agent.policy.InstallVerdict;
import com.nexmdm.agent.store.DiskFile;
import java.io.IOException;
import java.lang.reflect.Constructor;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.SeekableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * Runs the agent's code as it comes out of the APK: shrunk by R8, turned back into classes. Enrols at a server, takes
 * one command, downloads, "installs" by looking away, and reports. In Java, because the Kotlin library in the APK has
 * only what the agent itself needs.
 *
 * Arguments: server, enrolment token, folder, serial, installed version code, version code to come, signer's sha256.
 */
public final class ShrunkAgent {
    private static final String PACKAGE = "com.nexmdm";
    private static final LinkedBlockingQueue<Integer> committed = new LinkedBlockingQueue<>();
    private static volatile InstalledPackage installed;

    public static void main(String[] given) throws Exception {
        Path folder = Path.of(given[2]);
        String signer = given[6];
        installed = at(Long.parseLong(given[4]), signer);
        Ports ports = new Ports(new SessionFiles(folder), new Packages(), new Device(), new WallClock());
        Agent agent = withDefaults(Agent.class, settings(given, folder), ports, transport(), null, null);
        agent.setEnrollmentToken(given[1]);
        boolean enrolled = false;
        while (agent.getState().getFinished().isEmpty() || !agent.getState().getOutbox().isEmpty()) {
            long pause = agent.work();
            if (!enrolled && agent.isEnrolled()) System.out.println("enrolled");
            enrolled = agent.isEnrolled();
            Integer session = committed.poll(Math.min(pause, 1000), TimeUnit.MILLISECONDS);
            if (session != null) {
                installed = at(Long.parseLong(given[5]), signer);
                agent.said(session, InstallVerdict.Done.INSTANCE);
            }
        }
        System.exit(0);
    }

    private static InstalledPackage at(long code, String signer) {
        return new InstalledPackage(PACKAGE, code, "1.0." + code, Set.of(signer), code);
    }

    private static AgentSettings settings(String[] given, Path folder) throws Exception {
        List<String> abis = List.of("arm64-v8a");
        DeviceIdentity device =
                new DeviceIdentity(given[3], "Shrunk", "NexMDM", 34, abis, PACKAGE, "1.0." + given[4], null);
        DiskFile journal = new DiskFile(folder.resolve("journal"));
        return withDefaults(AgentSettings.class, given[0], device, journal, new DiskFile(folder.resolve("account")), null);
    }

    private static HttpTransport transport() throws Exception {
        return withDefaults(UrlConnectionTransport.class, 10_000, 20_000, 60_000L, null);
    }

    /** Kotlin's constructor with defaults, which javac does not see: a set bit says that the parameter is left out. */
    @SuppressWarnings("unchecked")
    private static <T> T withDefaults(Class<T> type, Object... values) throws Exception {
        Object[] all = new Object[values.length + 2];
        int mask = 0;
        for (int i = 0; i < values.length; i++) {
            all[i] = values[i];
            if (values[i] == null) mask |= 1 << i;
        }
        all[values.length] = mask;
        for (Constructor<?> one : type.getDeclaredConstructors()) {
            if (one.getParameterCount() == all.length) return (T) one.newInstance(all);
        }
        throw new NoSuchMethodException(type.getName());
    }

    /** One file per session. */
    private record SessionFiles(Path folder) implements SessionPort {
        @Override
        public int create(String packageName, long sizeBytes) {
            try {
                Files.createFile(path(1));
                return 1;
            } catch (IOException e) {
                throw new IllegalStateException(e);
            }
        }

        @Override
        public SessionSink write(int session, long offset) {
            try {
                FileChannel file = FileChannel.open(path(session), StandardOpenOption.WRITE);
                file.position(offset);
                return new Sink(file);
            } catch (IOException e) {
                throw new IllegalStateException(e);
            }
        }

        @Override
        public SeekableByteChannel read(int session) {
            try {
                return FileChannel.open(path(session), StandardOpenOption.READ);
            } catch (IOException e) {
                throw new IllegalStateException(e);
            }
        }

        @Override
        public void commit(int session) {
            committed.add(session);
        }

        @Override
        public void abandon(int session) {}

        @Override
        public Map<Integer, SessionState> mine() {
            return Files.exists(path(1)) ? Map.of(1, SessionState.COMMITTED) : Map.of();
        }

        private Path path(int session) {
            return folder.resolve("session-" + session);
        }
    }

    private record Sink(FileChannel file) implements SessionSink {
        @Override
        public void write(byte[] bytes, int length) {
            try {
                ByteBuffer left = ByteBuffer.wrap(bytes, 0, length);
                while (left.hasRemaining()) file.write(left);
            } catch (IOException e) {
                throw new IllegalStateException(e);
            }
        }

        @Override
        public void sync() {
            try {
                file.force(true);
            } catch (IOException e) {
                throw new IllegalStateException(e);
            }
        }

        @Override
        public void close() throws IOException {
            file.close();
        }
    }

    private static final class Packages implements PackagePort {
        @Override
        public InstalledPackage installed(String packageName) {
            return packageName.equals(PACKAGE) ? installed : null;
        }

        @Override
        public List<InstalledPackage> inventory() {
            return List.of(installed);
        }

        @Override
        public void uninstall(String packageName) {
            throw new IllegalStateException("not part of this run");
        }
    }

    private static final class Device implements DevicePort {
        @Override
        public DeviceSnapshot snapshot() {
            return new DeviceSnapshot(
                    Network.WIFI, false, 88, true, 4000L, true, false, false, true, "UTC", InstallRight.SILENT);
        }

        @Override
        public boolean prompt(int session) {
            return false;
        }

        @Override
        public boolean launch(String packageName, RestartIntent intent) {
            return true;
        }
    }

    private static final class WallClock implements Clock {
        @Override
        public Instant now() {
            return Instant.now();
        }

        @Override
        public long elapsedMs() {
            return System.nanoTime() / 1_000_000;
        }
    }
}
