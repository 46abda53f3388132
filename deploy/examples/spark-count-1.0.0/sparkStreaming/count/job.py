"""Counts the words of a text with Spark, as often as it is told."""
import time

from pyspark.sql import SparkSession


def settings():
    """The properties of the component, as the deployment manager wrote them."""
    with open("application.properties") as lines:
        pairs = (line.strip().split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
        return dict(pairs)


def main():
    component = settings()
    words = component["component.text"].split()
    spark = SparkSession.builder.getOrCreate()
    for number in range(int(component["component.rounds"])):
        if number:
            time.sleep(float(component["component.pause"]))
        counts = spark.sparkContext.parallelize(words, 2).map(lambda word: (word, 1)).reduceByKey(lambda a, b: a + b).collect()
        for word, count in sorted(counts):
            print(f"round {number + 1}: {word} {count}", flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
