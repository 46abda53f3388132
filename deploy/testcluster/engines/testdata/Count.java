package org.example;

import java.io.InputStream;
import java.util.Properties;
import org.apache.spark.sql.SparkSession;

/** Counts even numbers, as often as the component's properties say. */
public final class Count {
    public static void main(String[] args) throws Exception {
        Properties component = new Properties();
        try (InputStream in = Count.class.getResourceAsStream("/application.properties")) {
            component.load(in);
        }
        // A value that is a reference to a Secret comes in the environment alone.
        String text = System.getenv().getOrDefault("SECRET_TEXT", component.getProperty("component.text"));
        SparkSession spark = SparkSession.builder().getOrCreate();
        int rounds = Integer.parseInt(component.getProperty("component.rounds"));
        for (int round = 1; round <= rounds; round++) {
            long even = spark.range(1000).filter("id % 2 = 0").count();
            System.out.println("round " + round + ": " + text + " " + even);
            Thread.sleep(1000);
        }
        spark.stop();
    }
}
